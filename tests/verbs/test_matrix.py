"""Verb matrix, over sources with and without releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes.locks import debian_of

from builder.sources.lock_file import read_lock, write_lock

if TYPE_CHECKING:
    from fakes.site import Site


_K1 = "5.14.0-427.50.1.el9_4.x86_64"


_K2 = "5.14.0-427.51.1.el9_4.x86_64"


def test_kernels_that_their_source_does_not_have_whole_are_in_plan_and_matrix(site: Site) -> None:
    file = site.folder / "versions.lock.yaml"
    lock = read_lock(file)
    reasons = {"6.1.0-11-amd64": "no common headers", "6.1.0-8-amd64": "no gcc", "6.1.0-odd-x": "no kernel's name"}
    debian = debian_of(lock).model_copy(update={"left_out": reasons, "stale": {"6.1.0-9-amd64": "2026-01-01"}})
    write_lock(lock.model_copy(update={"sources": {"debian": debian}}), file)
    _, plan = site.json("plan", "--group", "few")
    rows = {cell["kernel"]: (cell["action"], cell["reason"], cell["explanation"]) for cell in plan["cells"]}
    assert rows["6.1.0-11-amd64"] == ("exclude", "kernel-incomplete", "no common headers")
    assert rows["6.1.0-10-amd64"][0] == "build", "the newest that is whole"
    assert "6.1.0-8-amd64" not in rows, "the group wants the newest only"
    _, answer = site.json("matrix", "--source", "debian")
    assert "source debian: 6.1.0-8-amd64 is left out: no gcc" in answer["notes"]
    assert "source debian: the answer of 2026-01-01 is kept for 6.1.0-9-amd64" in answer["notes"]


def test_matrix_shows_and_filters(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.release("4.17.2", _K1, node=_K2)
    site.release("4.17.3", _K2, toolkit=False)
    site.run("discover", "--source", "ocp")
    _, rows = site.json("matrix", "--source", "ocp")
    assert [row["kernel"] for row in rows["kernels"]] == [_K1, f"{_K1}+rt", _K2]
    assert rows["kernels"][2]["releases"] == ["4.17.2", "4.17.3"]
    assert rows["kernels"][2]["states"] == ["no-toolkit", "toolkit-differs"]
    assert [(row["release"], row["state"]) for row in rows["releases"]] == [
        ("4.17.1", "complete"), ("4.17.2", "toolkit-differs"), ("4.17.3", "no-toolkit")
    ]  # fmt: skip
    _, rows = site.json("matrix", "--state", "toolkit-differs")
    assert ([row["kernel"] for row in rows["kernels"]], len(rows["releases"])) == ([_K2], 1)
    _, rows = site.json("matrix", "--release", "4.17.[12]", "--variant", "rt")
    assert [row["kernel"] for row in rows["kernels"]] == [f"{_K1}+rt"]
    _, rows = site.json("matrix", "--kernel", "6.1.0-9-*")
    assert ([row["kernel"] for row in rows["kernels"]], rows["releases"]) == (["6.1.0-9-amd64"], [])
    code, out, _ = site.run("matrix", "--source", "ocp")
    assert (code, "3 kernels of 3 releases (1 complete, 1 toolkit-differs, 1 no-toolkit)" in out) == (0, True)
    code, out, _ = site.run("matrix", "--by", "release", "--arch", "ppc64le")
    assert (code, "0 kernels" in out) == (0, True)


def test_plan_and_matrix_name_what_the_kinds_of_a_group_leave_out(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.release("4.17.2-rc.1", _K2)
    site.run("discover", "--source", "ocp")
    _, plan = site.json("plan", "--group", "ocp")
    rows = {cell["kernel"]: (cell["action"], cell["reason"]) for cell in plan["cells"]}
    assert rows[_K2] == rows[f"{_K2}+rt"] == ("exclude", "release-kind")
    note = f"group 'ocp' leaves out 2 kernels that only releases of other kinds run than it includes: {_K2}, {_K2}+rt"
    assert site.json("matrix")[1]["notes"] == [note]
    assert note in " ".join(site.run("matrix")[1].split())
    assert site.json("matrix", "--source", "debian")[1]["notes"] == []
    assert site.json("matrix", "--kernel", _K1)[1]["notes"] == []
    site.edit(groups={"few": {"source": "debian"}, "ocp": {"source": "ocp", "include": ["ga", "candidate"]}})
    assert site.json("matrix")[1]["notes"] == []
    assert {cell["action"] for cell in site.json("plan", "--group", "ocp")[1]["cells"]} == {"build"}


def test_what_a_group_leaves_out_by_kind_can_be_left_out_for_good(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.release("4.17.2-rc.1", _K2)
    site.run("discover", "--source", "ocp")
    site.edit(exclude=[{"kernel": f"{_K2}*", "reason": "never"}])
    rows = {cell["kernel"]: cell["reason"] for cell in site.json("plan", "--group", "ocp")[1]["cells"]}
    assert (rows[_K2], rows[f"{_K2}+rt"]) == ("excluded", "excluded")
