"""Known problems: acknowledged, told all the same, and told when they are none any more."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from fakes.project import make_source

from builder.config.model.known_problem import KnownProblem
from builder.config.problem_codes import ProblemCode
from builder.errors import SourceUnreachableError
from builder.plan.decide import Reason
from builder.plan.known import OF_KERNELS, KnownProblems, describe_known
from builder.sources.debian import discover as debian

if TYPE_CHECKING:
    from fakes.site import Site

_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_K2 = "5.14.0-427.51.1.el9_4.x86_64"
_TODAY = date(2026, 3, 1)


def _entry(code: str, about: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "about": about, "reason": "case 7", "owner": "jo", "expires": date(2099, 1, 31)} | more


def _known(*entries: dict[str, Any]) -> KnownProblems:
    return KnownProblems(entries=[KnownProblem.model_validate(entry) for entry in entries], today=_TODAY)


def test_an_entry_is_found_by_code_and_glob_until_its_last_day() -> None:
    known = _known(
        _entry("malformed", "4.17.1-*", expires=_TODAY - timedelta(days=1)),
        _entry("malformed", "4.17.[12]-x86_64", expires=_TODAY, owner="mo"),
        _entry("no-toolkit", "5.14*"),
    )
    found = known.find("malformed", "4.17.1-x86_64")
    assert found
    assert describe_known(found) == "known: case 7 (owner mo, until 2026-03-01)", "of two, the one that counts"
    assert known.find("unreachable", "4.17.1-x86_64") is None, "another problem of the same release is news"
    assert known.find("malformed", "4.17.3-x86_64") is None
    assert known.find("malformed", "4.17.1-aarch64") is None, "an expired entry counts no more"
    assert list(known.complaints(OF_KERNELS)) == [
        "known_problems[2] (no-toolkit 5.14*) fits nothing that is wrong now: take it out of versions.yaml"
    ]
    assert list(known.complaints(set(ProblemCode) - OF_KERNELS)) == [
        "known_problems[0] (malformed 4.17.1-*) expired on 2026-02-28 and counts no more: ask its owner (jo) what now"
    ]


def test_what_an_entry_says_steers_no_terminal() -> None:
    known = _known(_entry("malformed", "x\x1b[2J", reason="\x1b[31m", owner="\x9b2J"))
    said = [*known.complaints({ProblemCode.MALFORMED}), describe_known(known.entries[0])]
    assert all(sentence.isprintable() for sentence in said)


def test_the_codes_of_plans_are_those_that_plans_give() -> None:
    assert {code.value for code in OF_KERNELS} <= {reason.value for reason in Reason}


def _break(site: Site, version: str) -> None:
    """Serve a release whose payload is none."""
    payload = site.world.image([{"x": version.encode()}])
    site.world.promote(payload, version, "fast-4.17")
    site.write_graph()


def test_a_malformed_release_that_is_known_is_told_and_ends_no_run(site: Site) -> None:
    site.release("4.17.1", _K1)
    _break(site, "4.17.2")
    for _ in range(2):
        code, _, err = site.run("discover", "--source", "ocp")
        assert (code, "4.17.2-x86_64" in err, "[malformed]" in err) == (7, True, True)
    site.edit(known_problems=[_entry("malformed", "4.17.2*")])
    code, out, err = site.run("discover", "--source", "ocp")
    told = " ".join(out.split())
    assert (code, err) == (0, "")
    assert "source ocp: 4.17.2-x86_64: " in told
    assert "[malformed]; known: case 7 (owner jo, until 2099-01-31)" in told
    _break(site, "4.17.3")
    code, report = site.json("discover", "--source", "ocp")
    assert (code, len(report["known_problems"]), len(report["problems"])) == (7, 1, 1)
    assert report["problems"][0].startswith("source ocp: 4.17.3-x86_64: "), "what is new is news"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (_entry("malformed", "4.17.9*"), "(malformed 4.17.9*) fits nothing that is wrong now"),
        (_entry("unreachable", "4.17.2*"), "(unreachable 4.17.2*) fits nothing that is wrong now"),
        (_entry("malformed", "4.17.2*", expires=date(2020, 1, 31)), "expired on 2020-01-31 and counts no more"),
    ],
)
def test_an_entry_that_fits_nothing_or_has_expired_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any], words: str
) -> None:
    def look(_: object, previous: Any, *__: object, **___: object) -> debian.DebianAnswer:
        return debian.DebianAnswer(locked=previous, lost={})

    monkeypatch.setattr("builder.sources.debian.discover.discover", look)
    site.release("4.17.1", _K1)
    _break(site, "4.17.2")
    site.edit(known_problems=[entry])
    code, out, _ = site.run("discover")
    assert (code, words in " ".join(out.split())) == (7, True), out
    _, report = site.json("discover", "--source", "ocp")
    assert report["complaints"] == [], "what the entry fits may be of a source that nobody asked"


def test_a_source_that_fails_as_a_whole_can_be_known_and_complains_of_no_entry(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SourceUnreachableError("no route")

    monkeypatch.setattr("builder.sources.debian.discover.discover", fail)
    site.release("4.17.1", _K1)
    site.edit(known_problems=[_entry("unreachable", "debian"), _entry("kernel-incomplete", "6.1.0-99-amd64")])
    code, report = site.json("discover")
    assert (code, report["problems"], report["complaints"]) == (0, [], [])
    assert report["known_problems"] == [
        "source debian: no route [unreachable]; known: case 7 (owner jo, until 2099-01-31)"
    ]
    monkeypatch.setattr(
        "builder.sources.debian.discover.discover",
        lambda *_, **__: debian.DebianAnswer(locked=make_source("6.1.0-9-amd64"), lost={}),
    )
    code, report = site.json("discover")
    assert (code, len(report["complaints"])) == (0, 2)


def test_a_defect_cannot_be_known(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("builder.sources.debian.discover.discover", fail)
    site.edit(known_problems=[_entry("unreachable", "debian"), _entry("malformed", "debian")])
    code, _, err = site.run("discover", "--source", "debian")
    assert (code, "defect in kmodsmith" in err) == (1, True)


def test_a_kernel_without_a_toolkit_that_is_known_ends_no_build_and_no_night(site: Site) -> None:
    site.release("4.17.1", _K1, node=_K2)
    site.edit(
        sources={"ocp": {"provider": "openshift", "channels": ["fast-4.17"], "graph": "{channel}_{arch}.json"}},
        groups={"few": {"source": "ocp"}},
    )
    assert site.run("discover")[0] == 0
    assert site.run("build")[0] == site.run("nightly")[0] == 10
    site.edit(known_problems=[_entry("no-toolkit", f"{_K2}*")])
    code, plan = site.json("plan")
    (row,) = plan["cells"]
    assert (code, row["action"], row["reason"]) == (0, "exclude", "no-toolkit")
    assert row["explanation"].endswith(f"toolkit for {_K1}, {_K1}+rt; known: case 7 (owner jo, until 2099-01-31)")
    assert site.run("build")[0] == 0
    code, out, err = site.run("nightly")
    assert (code, "1 excluded" in out, err) == (0, True, "")
    said = " ".join(site.run("build")[1].split())
    assert f"excluded demo-1.2.0/{_K2}: " in said
    assert "known: case 7 (owner jo" in said
    site.edit(known_problems=[_entry("no-toolkit", f"{_K2}*", expires=date(2020, 1, 31))])
    code, _, err = site.run("nightly")
    said = " ".join(err.split())
    assert (code, said.count("expired on 2020-01-31 and counts no more: ask its owner (jo) what now")) == (10, 1)


def test_a_new_cell_whose_refusal_is_known_is_told_by_discover(site: Site) -> None:
    site.release("4.17.1", _K1, node=_K2)
    site.edit(
        sources={"ocp": {"provider": "openshift", "channels": ["fast-4.17"], "graph": "{channel}_{arch}.json"}},
        groups={"few": {"source": "ocp"}},
        known_problems=[_entry("no-toolkit", f"{_K2}*")],
    )
    code, report = site.json("discover")
    assert (code, report["new_cells"], report["refused_cells"]) == (0, [], {})
    told = [line for line in report["known_problems"] if line.startswith(f"demo-1.2.0/{_K2} cannot be built: ")]
    assert told
    assert told[0].endswith("known: case 7 (owner jo, until 2099-01-31)")


def test_an_entry_for_a_kernel_that_has_its_toolkit_by_now_is_told_whatever_is_selected(site: Site) -> None:
    site.release("4.17.1", _K1, node=_K2)
    site.run("discover", "--source", "ocp")
    site.edit(known_problems=[_entry("no-toolkit", _K2), _entry("toolkit-unknown", "5.14*")])
    code, _, err = site.run("plan", "--group", "few")
    words = "known_problems[1] (toolkit-unknown 5.14*) fits nothing that is wrong now"
    assert (code, words in " ".join(err.split()), "known_problems[0]" in err) == (0, True, False)
    site.release("4.17.2", _K2)
    site.run("discover", "--source", "ocp")
    _, plan = site.json("plan", "--group", "ocp", "--variant", "standard")
    assert [row["action"] for row in plan["cells"]] == ["build"], "it is built as soon as it can be"
    assert "known_problems[0] (no-toolkit" in site.run("plan", "--group", "few")[2]


def test_no_entry_is_idle_while_nobody_asked_a_source(site: Site) -> None:
    site.edit(known_problems=[_entry("no-toolkit", _K2)])
    code, _, err = site.run("plan", "--group", "few")
    assert (code, "known_problems[0]" in err) == (0, False), "ocp, which may have that kernel, is not in the lock yet"
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    assert "known_problems[0] (no-toolkit" in site.run("plan", "--group", "few")[2]


def test_a_dispute_of_payloads_can_be_known(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.release("4.17.1", _K2)
    site.edit(known_problems=[_entry("two-payloads", "4.17.1-x86_64")])
    assert site.run("discover", "--source", "ocp")[0] == 0
    assert site.locked.releases["4.17.1-x86_64"].disputed
    assert site.run("upgrade-check", "4.17.1")[0] == 18, "it is no more ready for being known"


def test_a_known_bad_kernel_that_is_gone_is_told_and_one_that_is_there_is_not(site: Site) -> None:

    def bad(kernel: str) -> dict[str, Any]:
        return {"kernel": kernel, "reason": "bug 7", "owner": "jo", "expires": date(2099, 1, 31)}

    site.release("4.17.1", _K1)
    site.edit(known_bad=[bad("6.1.0-9-*"), bad("6.2*")])
    words = "known_bad[1] (6.2*) fits no kernel of versions.lock.yaml: take it out of versions.yaml"
    code, _, err = site.run("plan")
    assert (code, words in " ".join(err.split())) == (0, False), "a source that nobody asked yet may have it"
    site.run("discover", "--source", "ocp")
    code, _, err = site.run("plan")
    assert (code, words in " ".join(err.split()), "known_bad[0]" in err) == (0, True, False)
