"""Evidence is looked at again: whatever changed since opens its question."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.registry import FakeRegistry, pretend_registry

from builder.certify import subjects
from builder.certify.checklist import Checklist
from builder.certify.review import AnswerState, ReviewedAnswer, review_checklist
from builder.evidence.records import BootEvidence
from builder.plan.project import open_project
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench

_TODAY = date(2026, 11, 27)
_KERNEL = "6.1.0-10-amd64"
_PERSON = {"answer": "no", "by": "Jo", "on": date(2026, 11, 1)}


@pytest.fixture
def built(bench: Bench) -> Bench:
    bench.build("--kernel", _KERNEL)
    return bench


def _review(bench: Bench, answer: dict[str, Any], question: str = "firmware", today: date = _TODAY) -> ReviewedAnswer:
    project = open_project(bench.folder)
    found = review_checklist(project, Checklist.model_validate({"questions": {question: answer}}), today=today)
    return next(item for item in found if item.question.id == question)


def _by_image(bench: Bench, **more: Any) -> dict[str, Any]:
    return {"evidence": [{"image": f"localhost/demo@{bench.digest(_KERNEL)}", **more}]}


def test_an_image_answers_what_it_says(built: Bench) -> None:
    found = _review(built, _by_image(built, says="none"))
    assert (found.state, found.answer, found.is_open) == (AnswerState.PROVEN, "none", False)


def test_an_image_that_says_something_else_than_was_answered(built: Bench) -> None:
    found = _review(built, _by_image(built, says="demo/a.bin"))
    assert (found.state, found.is_open) == (AnswerState.REFUTED, True)
    assert "it says 'none', and the answer was given for 'demo/a.bin'" in found.sentence
    assert _review(built, {**_by_image(built, says="demo/a.bin"), **_PERSON}).state is AnswerState.REFUTED


def test_an_image_that_says_nothing_of_the_question(built: Bench) -> None:
    assert _review(built, _by_image(built), "device-plugin").state is AnswerState.REFUTED
    found = _review(built, _by_image(built), "kubelet")  # nothing an image could say
    assert (found.state, "it needs a person's answer" in found.sentence) == (AnswerState.OPEN, True)


def test_an_image_that_is_gone_or_of_another_version(built: Bench) -> None:
    gone = _review(built, {"evidence": [{"image": "localhost/demo@sha256:" + "0" * 64}]})
    assert (gone.state, "no such image any more" in gone.sentence) == (AnswerState.EXPIRED, True)
    file = built.folder / "versions.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["drivers"][0]["version"] = "9.9.9"
    file.write_text(yaml.safe_dump(settings))
    old = _review(built, _by_image(built))
    assert (old.state, "of version 1.2.0 of demo, and versions.yaml has 9.9.9" in old.sentence) == (
        AnswerState.EXPIRED,
        True,
    )
    settings["drivers"][0]["name"] = "other"
    file.write_text(yaml.safe_dump(settings))
    assert "which versions.yaml does not have" in _review(built, _by_image(built)).sentence


def test_what_a_registry_does_not_tell_is_unknown(
    built: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = FakeRegistry()

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        return RegistryAccess(pretend_registry(server, cache_dir / "registry"), Credentials(), frozenset())

    monkeypatch.setattr(subjects, "open_registries", open_pretended)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image = {"evidence": [{"image": "quay.test/a/b@sha256:" + "0" * 64}]}
    assert _review(built, image).state is AnswerState.EXPIRED
    import httpx

    server.faults.append(lambda _: httpx.Response(500))
    assert _review(built, {**image, **_PERSON}).state is AnswerState.UNKNOWN


def test_a_person_counts_until_the_last_day(built: Bench) -> None:
    answer = {**_PERSON, "valid_days": 30}
    assert _review(built, answer, today=date(2026, 12, 1)).state is AnswerState.ATTESTED
    found = _review(built, answer, today=date(2026, 12, 2))
    assert (found.state, "until 2026-12-01" in found.sentence, found.by) == (AnswerState.EXPIRED, True, "Jo")


def test_what_nobody_answers_is_open(built: Bench) -> None:
    assert _review(built, {}).state is AnswerState.OPEN
    project = open_project(built.folder)
    found = review_checklist(project, Checklist(), today=_TODAY)
    assert (len(found), {item.state for item in found}) == (21, {AnswerState.OPEN})


def test_a_link_is_nobodys_proof(built: Bench) -> None:
    linked = {**_PERSON, "evidence": [{"link": "https://example.com"}]}
    found = _review(built, linked)
    assert (found.state, found.evidence[0].state) == (AnswerState.ATTESTED, "not-looked-at")


def test_a_file_whose_content_changed_or_is_gone(built: Bench) -> None:
    file = built.folder / "SUPPORT"
    file.write_text("call us")
    answer = {
        **_PERSON,
        "evidence": [{"file": "SUPPORT", "digest": f"sha256:{hashlib.sha256(b'call us').hexdigest()}"}],
    }
    assert _review(built, answer).state is AnswerState.ATTESTED
    file.write_text("do not call us")
    assert _review(built, answer).state is AnswerState.EXPIRED
    file.unlink()
    assert _review(built, answer).state is AnswerState.REFUTED
    file.symlink_to("/etc/passwd")
    assert "leads out of it" in _review(built, answer).sentence


def _record_boot(bench: Bench, **changes: Any) -> str:
    cell = json.loads(bench.run("plan", "--json", "--kernel", _KERNEL)[1])["cells"][0]["cell"]
    given = {
        "cell": cell, "key": "k", "digest": bench.digest(_KERNEL), "passed": True, "run": "r", "mode": "secure",
        "finished": "2026-11-23T00:00:00Z", "acceleration": "tcg", "enrolled": "e", "signed_by": "signers", "seconds": 1.0,
    }  # fmt: skip
    open_project(bench.folder).journal.record_boot(BootEvidence(**{**given, **changes}))
    return str(cell)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, AnswerState.ATTESTED),
        ({"passed": False, "code": "oops"}, AnswerState.REFUTED),
        ({"digest": "sha256:" + "0" * 64}, AnswerState.EXPIRED),
    ],
)
def test_a_boot_test_counts_for_the_image_that_is_built_now(
    built: Bench, changes: dict[str, Any], state: AnswerState
) -> None:
    cell = _record_boot(built, **changes)
    assert _review(built, {**_PERSON, "evidence": [{"test": cell}]}).state is state


def test_a_test_that_nobody_has_on_record_is_unknown(built: Bench) -> None:
    assert _review(built, {**_PERSON, "evidence": [{"test": "demo-1/x"}]}).state is AnswerState.UNKNOWN
    cell = _record_boot(built)
    other = {"test": cell, "digest": "sha256:" + "0" * 64}
    assert _review(built, {**_PERSON, "evidence": [other]}).state is AnswerState.EXPIRED
