from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.components import make_component_evidence
from fakes.evidence import make_evidence
from fakes.full_disk import room, tear

from builder.errors import HostError
from builder.evidence.journal import Journal
from builder.evidence.records import BootEvidence

if TYPE_CHECKING:
    from pathlib import Path


def test_the_last_word_about_a_cell_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "deep" / "journal.jsonl")
    journal.note("run-started", run="r")
    journal.record(make_evidence("one", "old"))
    journal.record(make_evidence("two"))
    journal.record(make_evidence("one", "new"))
    again = Journal(tmp_path / "deep" / "journal.jsonl")
    assert again.cells == journal.cells == {"one": make_evidence("one", "new"), "two": make_evidence("two")}


def test_everything_on_record_is_there_oldest_first_and_what_cannot_be_read_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    journal.note("run-started", run="r")
    journal.record(make_evidence("one", "old"))
    journal.record_component(make_component_evidence())
    with file.open("a") as stream:
        stream.write('{"type":"cell","cell":5}\n{"type":"later"}\n')
    journal.record(make_evidence("one", "new"))
    again = Journal(file)
    wanted = [make_evidence("one", "old"), make_component_evidence(), make_evidence("one", "new")]
    assert list(again.records()) == wanted
    assert caplog.text.count("unreadable line passed over") == 1
    assert list(Journal(tmp_path / "absent").records()) == []


def test_a_torn_last_line_costs_only_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file).record(make_evidence("one"))
    Journal(file).record(make_evidence("two"))
    whole = file.read_bytes()
    for cut in (*range(whole.index(b"\n") + 1, len(whole) - 1, 13), len(whole) - 1):
        file.write_bytes(whole[:cut])
        journal = Journal(file)
        assert set(journal.cells) <= {"one", "two"}
        assert "one" in journal.cells
        journal.record(make_evidence("three"))
        assert "three" in Journal(file).cells
    assert "the last line was incomplete" in caplog.text
    assert "unreadable" not in caplog.text


def test_a_damaged_line_in_the_middle_is_told_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file).record(make_evidence("one"))
    file.write_bytes(file.read_bytes() + b'{"type":"cell","cell":3}\n\xff\xfe\n')
    Journal(file).record(make_evidence("two"))
    assert set(Journal(file).cells) == {"one", "two"}
    assert "journal.jsonl:2: unreadable line" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"modules": "text"}, {"modules": [5]}, {"modules": ["text"]}, {"modules": [{"name": 5}]}, {"failure": "text"},
        {"failure": []}, {"failure": {"failure_class": []}}, {"firmware": {"a": 1}}, {"inputs": []}, {"cell": ["c"]},
        {"outcome": {}}, {"timings": {"compile": "x"}}, {"signers": 5}, {"digest": None},
    ],
)  # fmt: skip
def test_a_line_of_other_kinds_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, object]
) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file).record(make_evidence("good"))
    line = json.loads(file.read_text())
    file.write_text("\n".join([json.dumps(line | change).replace('{"type": "', '{"type":"'), file.read_text()]))
    assert list(Journal(file).cells) == ["good"]
    assert "unreadable line passed over: it is no evidence of a cell" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timings", {"compile": -1.0}),
        ("timings", {"compile": 1e12}),
        ("timings", {"compile": float("nan")}),
        ("cpu", {"compile": float("inf")}),
        ("modules", [{"name": "a", "sha256": "b", "size": -1}]),
        ("modules", [{"name": "a", "sha256": "b", "size": 2**70}]),
        ("firmware", [{"path": "a", "sha256": "b", "size": 2**70}]),
    ],
)
def test_what_nothing_ever_took_is_no_record(tmp_path: Path, name: str, value: object) -> None:
    """Times and sizes are added up and multiplied, and drawn: no sum of them may be no number."""
    file = tmp_path / "journal.jsonl"
    Journal(file).record(make_evidence("one"))
    line = json.loads(file.read_text())
    for changes, known in (({name: value}, set()), ({}, {"two"})):
        text = json.dumps(line | {"cell": "two"} | changes).replace('{"type": "', '{"type":"')
        file.write_text(f"{text}\n")
        assert set(Journal(file).cells) == known


def test_a_journal_without_room_says_so_and_goes_on_later(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    journal.record(make_evidence("one"))
    with room(file, 100), pytest.raises(HostError, match="cannot be recorded: File too large"):
        journal.record(make_evidence("two"))
    assert set(journal.cells) == set(Journal(file).cells) == {"one"}, "what is not on the disk is not believed"
    journal.record(make_evidence("three"))
    assert set(Journal(file).cells) == {"one", "three"}


def test_a_torn_line_of_the_journal_is_set_aside_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    journal.record(make_evidence("one"))
    tear(file, monkeypatch, lambda: journal.record(make_evidence("two")))
    assert set(Journal(file).cells) == {"one"}
    Journal(file).record(make_evidence("three"))
    assert set(Journal(file).cells) == {"one", "three"}
    assert (tmp_path / "journal.jsonl.torn").read_bytes().startswith(b'{"type":"cell","cell":"two"')
    assert "40 bytes are in" in caplog.text
    events = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert [event["size"] for event in events if event.get("event") == "torn-line"] == [40]


def test_the_journal_keeps_the_latest_boot(tmp_path: Path) -> None:
    evidence = BootEvidence(
        cell="demo/k", key="1", digest="sha256:1", passed=True, run="r", finished="2026-11-23T00:00:00Z", mode="secure",
        acceleration="tcg", enrolled="db", signed_by="signers", seconds=8.1, refusals=("a", "b"),
    )  # fmt: skip
    journal = Journal(tmp_path / "journal.jsonl")
    journal.record_boot(evidence)
    journal.record_boot(replace(evidence, passed=False, code="kernel-oops"))
    assert Journal(tmp_path / "journal.jsonl").boots["demo/k"] == replace(evidence, passed=False, code="kernel-oops")


def test_the_journal_keeps_the_latest_boot_beside_the_one_that_counts(tmp_path: Path) -> None:
    signed = BootEvidence(
        cell="demo/k", key="1", digest="sha256:1", passed=True, run="r", finished="2026-11-23T00:00:00Z", mode="secure",
        acceleration="tcg", enrolled="db", signed_by="signers", seconds=8.1,
    )  # fmt: skip
    weaker = replace(signed, mode="plain", signed_by="nobody")
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    journal.record_boot(signed)
    journal.record_boot(weaker)
    for read in (journal, Journal(file)):
        assert (read.boots["demo/k"], read.last_boots["demo/k"]) == (signed, weaker)
    assert len(file.read_text().splitlines()) == 2


def test_the_last_word_about_a_component_image_counts(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    journal.record(make_evidence("one"))
    journal.record_component(make_component_evidence(run="old"))
    journal.record_component(make_component_evidence(run="new"))
    known = make_component_evidence(run="new")
    assert Journal(file).components == journal.components == {known.component: known}
    assert set(Journal(file).cells) == {"one"}


def test_a_torn_line_of_a_component_costs_only_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "journal.jsonl"
    one, two = make_component_evidence(), make_component_evidence(component="two")
    Journal(file).record_component(one)
    Journal(file).record_component(two)
    whole = file.read_bytes()
    for cut in (*range(whole.index(b"\n") + 1, len(whole) - 1, 97), len(whole) - 1):
        file.write_bytes(whole[:cut])
        assert one.component in Journal(file).components
        Journal(file).record_component(make_component_evidence(component="three"))
        assert "three" in Journal(file).components
    assert "unreadable" not in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"component": 5}, {"arch": None}, {"outcome": "perfect"}, {"inputs": ["a"]}, {"wheels": "text"},
        {"wheels": [{"name": 5}]}, {"wheels": [["demo"]]}, {"self_test": "passed"}, {"self_test": {"outcome": []}},
        {"self_test": {"outcome": "passed", "seconds": "x"}}, {"base_layers": []}, {"base_layers": {"a": 1}},
        {"commits": [5]}, {"failure": "text"}, {"failure": {"failure_class": "bad luck"}}, {"digest": None},
        {"stored": 5}, {"size": "large"}, {"timings": {"verify": "x"}}, {"derived": 7}, {"key": {}},
    ],
)  # fmt: skip
def test_a_line_of_a_component_of_other_kinds_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, object]
) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file).record_component(make_component_evidence(component="good"))
    line = json.loads(file.read_text())
    file.write_text("\n".join([json.dumps(line | change).replace('{"type": "', '{"type":"'), file.read_text()]))
    assert list(Journal(file).components) == ["good"]
    assert "unreadable line passed over: it is no evidence of a component" in caplog.text
