"""checklist.yaml: each mistake is told with its place."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fakes.schemas import SchemaViolation, validate

from builder.certify.checklist import SCHEMA_NAME, Checklist, emit_checklist_schema, read_checklist
from builder.certify.questions import BY_ID
from builder.errors import ConfigError

_TODAY = date(2026, 11, 27)
_DIGEST = "sha256:" + "a" * 64


def _read(folder: Path, text: str) -> Checklist:
    (folder / "checklist.yaml").write_text(text)
    return read_checklist(folder / "checklist.yaml", today=_TODAY)


def test_answers_by_evidence_and_by_people(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        f"questions:\n  firmware:\n    evidence: [{{image: 'quay.io/a/b@{_DIGEST}', says: none}}]\n"
        "  kubelet: {answer: x, by: Jo, on: 2026-11-01, valid_days: 30}\n  appearance: {}\n",
    )
    assert found.questions["kubelet"].last_day == date(2026, 12, 1)
    assert found.questions["firmware"].last_day is None
    assert found.questions["firmware"].evidence[0].says == "none"


@pytest.mark.parametrize("text", ["", "questions: {}\n", "# nothing yet\n"])
def test_nothing_is_answered_yet(text: str, tmp_path: Path) -> None:
    assert _read(tmp_path, text).questions == {}


def _one(answer: str) -> str:
    return f"questions:\n  firmware: {answer}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1", "1:1: must be a mapping with questions"),
        ("answers: {}", "1:1: at answers is not a known key; known: questions"),
        ("questions:\n  firmwares: {}", "2:3: at questions.firmwares is no question: did you mean 'firmware'?"),
        ("questions:\n  x: {}", "is no question; known: in-tree-support"),
        (_one("{answer: x}"), "2:13: at questions.firmware a person's answer has answer, and lacks by, on"),
        (_one("{answer: x, by: Jo, on: yesterday}"), "questions.firmware.on"),
        (_one("{answer: x, by: Jo, on: 2026-11-28}"), "2026-11-28 is still to come"),
        (_one("{answer: 5, by: Jo, on: 2026-11-01}"), "questions.firmware.answer input should be a valid string"),
        (_one("{answer: x, by: Jo, on: 2026-11-01, valid_days: 0}"), "valid_days"),
        (_one("{answer: x, by: Jo, on: 2026-11-01, valid_days: 4000}"), "valid_days"),
        (_one("{until: x}"), "at questions.firmware.until is not a known key; known: answer, by, on"),
        (_one("{evidence: [{}]}"), "2:25: at questions.firmware.evidence[0] must be one of image, test, file and link"),
        (_one("{evidence: [{test: a, file: b}]}"), "and is test and file"),
        (_one("{evidence: [{image: 'quay.io/a/b:1'}]}"), "by a tag, which may move"),
        (_one("{evidence: [{image: nonsense}]}"), "not a full image name"),
        (_one("{evidence: [{file: README.md}]}"), "without its digest"),
        (_one("{evidence: [{test: a, digest: abc}]}"), "digest"),
        (_one("{evidence: [{link: 'https://example.com'}]}"), "a person has to answer beside it"),
        (_one("{evidence: [{link: 'file:///etc'}]}"), "is no address"),
        (_one("{evidence: [{picture: x}]}"), "is not a known key; known: image, test, file, link, digest, says"),
        (_one("5"), "questions.firmware"),
        ("questions: []", "at questions"),
        ("questions: {a: &b {}, c: *b}", "anchors"),
    ],
)
def test_mistakes_have_places(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as found:
        _read(tmp_path, text)
    assert words in str(found.value)
    assert "checklist.yaml:" in str(found.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as found:
        _read(tmp_path, "questions:\n  nonsense: {}\n  firmware: {until: x}\n  kubelet: {by: Jo}\n")
    assert len(found.value.mistakes) == 3


_SCHEMA = json.loads(emit_checklist_schema())
_FILE = Path(__file__).parents[2] / SCHEMA_NAME


def test_the_committed_schema_is_fresh() -> None:
    assert _FILE.read_text() == emit_checklist_schema(), "run: nox -s schema -- --write"


def test_the_schema_knows_and_explains_every_question_and_key() -> None:
    assert list(_SCHEMA["properties"]["questions"]["properties"]) == list(BY_ID)
    for definition in (_SCHEMA, *_SCHEMA["$defs"].values()):
        for name, value in definition["properties"].items():
            assert value.get("description"), name


@pytest.mark.parametrize(
    "answer",
    [
        {"evidence": [{"image": f"quay.io/a/b@{_DIGEST}", "says": "none"}]}, {},
        {"answer": "x", "by": "Jo", "on": "2026-11-01", "valid_days": 30},
        {"evidence": [{"file": "S.md", "digest": _DIGEST}, {"test": "a/b"}]},
    ],
)  # fmt: skip
def test_the_schema_takes_what_is_right(answer: dict[str, Any]) -> None:
    validate({"questions": {"firmware": answer}}, _SCHEMA)


@pytest.mark.parametrize(
    "data",
    [
        {"questions": {"firmwares": {}}}, {"answers": {}}, {"questions": {"firmware": {"answer": "x"}}},
        {"questions": {"firmware": {"answer": 5, "by": "Jo", "on": "2026-11-01"}}},
        {"questions": {"firmware": {"evidence": [{}]}}},
        {"questions": {"firmware": {"evidence": [{"test": "a", "file": "b"}]}}},
        {"questions": {"firmware": {"evidence": [{"file": "b", "digest": "sha256:1"}]}}},
        {"questions": {"firmware": {"evidence": [{"file": "b", "digest": f"{_DIGEST}0"}]}}},
        {"questions": {"firmware": {"until": "x"}}},
    ],
)  # fmt: skip
def test_the_schema_refuses_what_the_reader_refuses(data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SchemaViolation):
        validate(data, _SCHEMA)
    with pytest.raises(ConfigError):
        _read(tmp_path, json.dumps(data))
