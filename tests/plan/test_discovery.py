"""Verb discover: each source has its own outcome, and what changed is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.evidence import make_evidence
from fakes.locks import by_text, debian_of
from fakes.project import KERNELS, make_source

from builder.config.problem_codes import ProblemCode
from builder.errors import (
    CommandError,
    Failure,
    FailureClass,
    FormatError,
    HostError,
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
    UsageError,
)
from builder.plan.discovery import discover_project
from builder.plan.project import open_project
from builder.sources.debian import discover as debian
from builder.sources.doubt import Doubt
from builder.sources.lock import Lock
from builder.sources.lock_file import read_lock, write_lock

if TYPE_CHECKING:
    from fakes.bench import Bench
    from fakes.site import Site


_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_K2 = "5.14.0-427.51.1.el9_4.x86_64"


def test_discover_says_what_changed_and_which_cells_that_adds(site: Site) -> None:
    site.release("4.17.1", _K1)
    code, out, err = site.run("discover", "--source", "ocp")
    assert code == 0, err
    assert f"new kernel {_K1}: of 4.17.1" in out
    assert "new release 4.17.1-x86_64: in fast-4.17 since before the first look; rhel-coreos complete" in out
    assert f"2 new cells to build: demo-1.2.0/{_K1}, demo-1.2.0/{_K1}+rt" in out
    assert "1 release read with" in out
    assert debian_of(read_lock(site.folder / "versions.lock.yaml")).kernels, "the other source stays"
    before = (site.folder / "versions.lock.yaml").read_bytes()
    code, out, _ = site.run("discover", "--source", "ocp")
    assert (code, out.splitlines()[-1]) == (0, "nothing changed")
    assert (site.folder / "versions.lock.yaml").read_bytes() == before
    site.release("4.17.2", _K2)
    code, report = site.json("discover", "--source", "ocp")
    assert (code, report["releases_read"], len(report["new_cells"])) == (0, 1, 2)
    assert {change["kind"] for change in report["changes"]} == {"new kernel", "new release"}
    assert "for a minute" in next(change["detail"] for change in report["changes"] if change["kind"] == "new release")


def test_only_cells_that_would_be_built_are_counted_and_those_that_are_refused_are_named(site: Site) -> None:
    site.release("4.17.1", _K1, node=_K2)
    before = (site.folder / "versions.lock.yaml").read_text()
    code, out, err = site.run("discover", "--source", "ocp")
    reason = f"{_K2} has no toolkit: release 4.17.1 runs it, but brings a toolkit for {_K1}, {_K1}+rt"
    assert (code, "to build" in out) == (0, False), err
    assert f"cannot be built: demo-1.2.0/{_K2}: {reason}" in " ".join(out.split())
    (site.folder / "versions.lock.yaml").write_text(before)
    _, report = site.json("discover", "--source", "ocp")
    assert (report["new_cells"], report["refused_cells"]) == ([], {f"demo-1.2.0/{_K2}": reason})
    site.release("4.17.2", _K2, node=_K2)
    site.edit(exclude=[{"kernel": "*+rt", "reason": "none"}])
    site.release("4.17.3", "5.14.0-427.52.1.el9_4.x86_64")
    _, out, _ = site.run("discover", "--source", "ocp")
    assert "1 new cell to build: demo-1.2.0/5.14.0-427.52.1.el9_4.x86_64\n" in out


def test_a_cell_that_is_refused_for_want_of_a_bootable_kernel_is_not_counted(site: Site) -> None:
    site.edit(build={"boot": "changed"}, exclude=[{"kernel": "*+rt", "reason": "none"}])
    site.release("4.17.1", _K1)
    assert f"1 new cell to build: demo-1.2.0/{_K1}" in site.run("discover", "--source", "ocp")[1]
    raw = "6.1.0-11-amd64"

    def look(*_: object, **__: object) -> debian.DebianAnswer:
        return debian.DebianAnswer(locked=make_source(*KERNELS, raw), lost={})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builder.sources.debian.discover.discover", look)
        _, report = site.json("discover", "--source", "debian")
    assert report["new_cells"] == []
    assert "no bootable kernel" in report["refused_cells"][f"demo-1.2.0/{raw}"]


def test_a_plan_that_cannot_be_made_does_not_keep_the_lock_from_being_written(site: Site) -> None:
    groups = {"few": {"source": "debian"}, "ocp": {"source": "ocp", "signing": "required"}}
    site.edit(groups=groups)
    site.release("4.17.1", _K1)
    code, report = site.json("discover", "--source", "ocp")
    assert (code, report["new_cells"], list(by_text(site.locked.kernels))) == (0, [], [_K1, f"{_K1}+rt"])
    assert report["refused_cells"][f"demo-1.2.0/{_K1}"].startswith("group 'ocp' cannot be planned: ")


def test_a_driver_that_is_renamed_while_sources_are_asked_adds_no_cell(site: Site) -> None:
    file, raw = site.folder / "versions.yaml", "6.1.0-11-amd64"

    def look(*_: object, **__: object) -> debian.DebianAnswer:
        file.write_text(file.read_text().replace("name: demo", "name: other"))
        return debian.DebianAnswer(locked=make_source(*KERNELS, raw), lost={})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builder.sources.debian.discover.discover", look)
        code, report = site.json("discover", "--source", "debian")
    assert (code, report["new_cells"], report["refused_cells"]) == (0, [], {})
    assert raw in by_text(debian_of(read_lock(site.folder / "versions.lock.yaml")).kernels)


def test_a_toolkit_that_a_build_missed_is_asked_for_and_replaced(site: Site) -> None:
    """Both releases are there, so an hourly run asks nobody; the build of last night knows better."""
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    first = by_text(site.locked.kernels)[_K1].toolkit
    tags = {
        "rhel-coreos": site.world.os_image(_K1, build="4.17.2"), "rhel-coreos-extensions": site.world.extensions(),
        "driver-toolkit": site.world.toolkit(_K1, base=b"newer"),
    }  # fmt: skip
    site.world.promote(site.world.release("4.17.2", tags), "4.17.2", "fast-4.17")
    site.write_graph()
    site.world.failures[f"/manifests/{first.partition('@')[2]}"] = httpx.Response(404)
    site.run("discover", "--source", "ocp")
    assert by_text(site.locked.kernels)[_K1].toolkit == first
    failure = Failure(failure_class=FailureClass.TOOLKIT, code="package-wrong", detail="HTTP 404")
    evidence = replace(make_evidence(f"demo-1.2.0/{_K1}"), failure=failure)
    open_project(site.folder).journal.record(evidence)
    code, out, _ = site.run("discover", "--source", "ocp")
    said = " ".join(out.split())
    assert (code, by_text(site.locked.kernels)[_K1].toolkit) == (0, tags["driver-toolkit"])
    assert "its registry says that it does not have that one any more" in said


def test_a_source_that_fails_keeps_what_it_had_and_has_its_exit_code(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    (site.folder / "fast-4.17_amd64.json").unlink()
    code, _, err = site.run("discover", "--source", "ocp")
    assert (code, "cannot be read" in err, "hint: run it again later:" in err) == (7, True, True)
    assert list(by_text(site.locked.kernels)) == [_K1, f"{_K1}+rt"]
    site.release("4.17.2", _K2)
    site.edit(sources={"ocp": {"provider": "openshift", "channels": ["fast-4.17", "nope-4.17"], "graph": "{channel}_{arch}.json"}}, groups={"few": {"source": "ocp"}})  # fmt: skip
    code, out, err = site.run("discover")
    assert (code, "nope-4.17" in err, "new kernel" in out) == (7, True, True), "what can be read is"
    code, _, err = site.run("discover", "--source", "opc")
    assert (code, "there is no source 'opc'" in err) == (2, True)


def test_a_source_that_never_answered_leaves_the_others_alone(site: Site) -> None:
    code, _, err = site.run("discover", "--source", "ocp")
    assert (code, "source ocp: fast-4.17 x86_64:" in err) == (7, True)
    assert list(read_lock(site.folder / "versions.lock.yaml").sources) == ["debian"]


@pytest.mark.parametrize(
    ("error", "problem", "words", "code"),
    [
        (SourceUnreachableError("no route"), "unreachable", "no route", 7),
        (SourceRefusedError("a wrong password"), "unreachable", "a wrong password", 7),
        (SourceError("wrong signature"), "malformed", "wrong signature", 7),
        (FormatError("no JSON"), "malformed", "no JSON", 8),
        (HostError("apt-get is not installed"), "host", "apt-get is not installed", 6),
        (CommandError("buildah ended with exit code 125"), "host", "exit code 125", 17),
        (UsageError("'x' is not a kernel version"), "malformed", "not a kernel version", 7),
        (
            OSError(30, "Read-only file system", "/cache/apt"),
            "host",
            "/cache/apt cannot be read or written: Read-only file system",
            6,
        ),
        (KeyError("Package"), "defect", "defect in kmodsmith: KeyError: 'Package'", 1),
    ],
)
def test_each_source_has_its_own_outcome(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str, words: str, code: int
) -> None:
    """Whatever ends the first source, the second is asked; the older answer stays, marked, until it answers."""
    from builder.sources.debian import discover as debian

    def fail(*_: object, **_options: object) -> None:
        raise error

    known = debian_of(read_lock(site.folder / "versions.lock.yaml"))
    monkeypatch.setattr("builder.sources.debian.discover.discover", fail)
    site.release("4.17.1", _K1)
    found, out, err = site.run("discover")
    assert (found, f"new kernel {_K1}" in out) == (code, True), err
    assert "source debian: " in err
    assert words in err
    assert "Traceback" not in err
    locked = debian_of(read_lock(site.folder / "versions.lock.yaml"))
    assert locked == known.model_copy(update={"problem": problem})
    _, out, _ = site.run("matrix", "--source", "debian")
    assert f"all of it is the answer of {known.resolved}: the last reading failed ({problem})" in out
    answer = debian.DebianAnswer(locked=known, lost={})
    monkeypatch.setattr("builder.sources.debian.discover.discover", lambda *_, **_options: answer)
    assert site.run("discover")[0] == 0
    assert debian_of(read_lock(site.folder / "versions.lock.yaml")) == known


def test_sources_that_fail_for_different_reasons_are_one_answer_that_is_not_whole(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **_options: object) -> None:
        raise HostError("apt-get is not installed")

    monkeypatch.setattr("builder.sources.debian.discover.discover", fail)
    code, _, err = site.run("discover")
    assert (code, "apt-get" in err, "source ocp" in err) == (7, True, True)


def test_accept_loss_is_for_every_source(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from builder.sources.debian import discover as debian

    asked: list[object] = []

    def discover(_source: object, previous: Any, *_: object, **options: object) -> object:
        asked.append(options["accept_loss"])
        return debian.DebianAnswer(
            locked=previous,
            lost={},
            doubts=[Doubt(code=ProblemCode.MANY_LOST, subject="amd64", sentence="5 of the 6 kernels are not there")],
        )

    monkeypatch.setattr("builder.sources.debian.discover.discover", discover)
    code, _, err = site.run("discover", "--source", "debian")
    assert (code, "source debian: amd64: 5 of the 6" in err) == (7, True)
    site.run("discover", "--source", "debian", "--accept-loss")
    assert asked == [False, True]


def test_a_source_that_is_taken_out_says_what_leaves_with_it(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.edit(sources={"ocp": {"provider": "openshift", "channels": ["fast-4.17"], "graph": "{channel}_{arch}.json"}}, groups={"few": {"source": "ocp"}})  # fmt: skip
    code, out, _ = site.run("discover")
    assert (code, "source gone debian: versions.yaml no longer names it; gone with it: 6 kernels" in out) == (0, True)


def test_many_changes_are_counted(site: Site) -> None:
    for number in range(30):
        site.release(f"4.17.{number}", _K1)
    _, out, _ = site.run("discover", "--source", "ocp")
    assert "... and 10 more of: new release (--json lists all)" in out


_KERNEL = "6.1.0-10-amd64"


def test_discover_goes_on_from_what_the_lock_says_by_then(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lock that was written between reading it and having it alone is not written over."""
    project = open_project(bench.folder)
    assert len(project.lock.kernel_versions("debian")) == len(KERNELS)
    write_lock(Lock(sources={"debian": make_source(_KERNEL)}), project.lock_file)
    seen: list[Any] = []

    def look(_settings: object, previous: Any, *_: object, **__: object) -> debian.DebianAnswer:
        seen.append(previous)
        return debian.DebianAnswer(locked=previous, lost={})

    monkeypatch.setattr("builder.sources.debian.discover.discover", look)
    discover_project(project)
    assert [list(by_text(source.kernels)) for source in seen] == [[_KERNEL]]
