"""What init tells, to people and to programs."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from builder.init.known import DriverDraft, Guess, OpenQuestion
from builder.init.result import Start, StartKind
from builder.init.sample import NameChange
from builder.show.init import commands, emit_start, emit_start_json

_DRAFT = DriverDraft(
    name="card", version="1", vendor="V", maintainer="M", summary="S", description="D", source="card",
    guesses=(Guess(key="modules", value="[a]", why="obj-m in [red]Kbuild:1"),),
    questions=(
        OpenQuestion(key="image", text="Where?", stands="here"),
        OpenQuestion(key="operator.documentation", text="And?", stands="there"),
    ),
    notes=("line 1: passed over", "\udcff\x1b[31m.c is a link"),
)  # fmt: skip
_CHANGE = NameChange(file="versions.yaml", place="drivers", before="ptemplate", after="card")
_START = Start(
    kind=StartKind.SAMPLE_REPLACED, draft=_DRAFT, entry="  - name: card\n", changes=(_CHANGE,), files=("card/",)
)


def _text(start: Start, *, dry_run: bool = False) -> str:
    console = Console(width=150)
    with console.capture() as captured:
        for part in emit_start(start, dry_run=dry_run):
            console.print(part, soft_wrap=True)
    return captured.get()


def test_people_read_guesses_questions_changes_and_what_is_next() -> None:
    text = _text(_START)
    for words in (
        "obj-m in [red]Kbuild:1", "note: line 1: passed over", "\\udcff\\x1b[31m.c", "2 questions open", "drivers[card].image", "ptemplate",
        "     operator.documentation   until then: there", "pipx run nox -s build -- --driver card",
    ):  # fmt: skip
        assert words in text
    assert "nothing was written" not in text
    assert "discover" not in text


def test_a_dry_run_shows_the_entry_and_no_next_step() -> None:
    text = _text(_START, dry_run=True)
    assert "- name: card" in text
    assert "nothing was written" in text
    assert "next:" not in text


def test_what_is_next_allows_what_lies_outside_and_asks_for_a_lock() -> None:
    start = Start(kind=StartKind.NEW, draft=_DRAFT, outside=Path("/o"), has_lock=False)
    assert commands(start) == (
        "pipx run nox -s discover",
        "pipx run nox -s plan -- --driver card --allow-outside /o",
        "pipx run nox -s build -- --driver card --allow-outside /o",
    )


def test_programs_read_the_same() -> None:
    data = json.loads(emit_start_json(_START, dry_run=False))
    assert data["kind"] == "sample-replaced"
    assert data["is_written"] is True
    assert [question["key"] for question in data["questions"]] == ["drivers[card].image", "operator.documentation"]
    assert data["changes"][0]["before"] == "ptemplate"
    assert data["files"] == ["card/"]
    assert json.loads(emit_start_json(_START, dry_run=True))["is_written"] is False
