"""What ``init`` guessed, asks, and changed: for people, and for programs. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from builder.errors import printable
from builder.init.result import StartKind
from builder.show.table import make_table
from builder.writing import count, emit_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from builder.init.known import OpenQuestion
    from builder.init.result import Start

FORMAT_VERSION = 1


_KINDS = {
    StartKind.NEW: "a first versions.yaml",
    StartKind.SAMPLE_REPLACED: "the sample driver's place is taken",
    StartKind.ADDED: "a driver is added",
    StartKind.REPLACED: "the driver's entry is written anew",
    StartKind.UNCHANGED: "versions.yaml has this driver already: nothing is changed; --force writes its entry anew",
}


def emit_start(start: Start, *, dry_run: bool) -> Iterator[RenderableType]:
    """Yield what is to be printed, one after the other."""
    draft = start.draft
    yield Text(f"{draft.name} {draft.version}: {_KINDS[start.kind]}", style="bold")
    if draft.guesses:
        table = make_table("guessed", "value", "because of")
        for guess in draft.guesses:
            table.add_row(guess.key, _text(guess.value), _text(guess.why))
        yield table
    for note in draft.notes:
        yield _text(f"note: {note}")
    if start.changes:
        yield _emit_changes(start)
    if draft.questions:
        yield Text(
            f"{count(len(draft.questions), 'question')} open; the first build runs without an answer:", style="bold"
        )
        for number, question in enumerate(draft.questions, 1):
            yield _text(f"  {number}. {question.text}")
            yield _text(f"     {_path(question, draft.name)}   until then: {question.stands}")
    if dry_run:
        yield Text(f"versions.yaml would have:\n{start.entry.rstrip()}")
        yield Text("nothing was written (--dry-run)", style="bold")
        return
    yield Text("next:", style="bold")
    for command in commands(start):
        yield Text(f"  {command}")


def _path(question: OpenQuestion, driver: str) -> str:
    """Return the whole path of a key: those of a draft are below the driver."""
    is_whole = question.key.startswith(("components[", "operator."))
    return question.key if is_whole else f"drivers[{driver}].{question.key}"


def _text(words: str) -> Text:
    """Return words that may be a stranger's, as every terminal can show them."""
    return Text(printable(words))


def _emit_changes(start: Start) -> RenderableType:
    table = make_table("file", "where", "before", "after")
    for change in start.changes:
        table.add_row(change.file, change.place, _text(change.before), _text(change.after))
    return table


def commands(start: Start) -> Sequence[str]:
    """Return what to run next, in its order."""
    outside = f" --allow-outside {start.outside}" if start.outside else ""
    driver = f"--driver {start.draft.name}{outside}"
    first = () if start.has_lock else ("pipx run nox -s discover",)
    return (*first, f"pipx run nox -s plan -- {driver}", f"pipx run nox -s build -- {driver}")


def emit_start_json(start: Start, *, dry_run: bool) -> str:
    """Return everything of it; paths are relative to the project."""
    draft = start.draft
    data = {
        "format": FORMAT_VERSION,
        "kind": start.kind,
        "is_written": not dry_run and start.kind is not StartKind.UNCHANGED,
        "driver": {"name": draft.name, "version": draft.version, "source": draft.source},
        "guesses": [asdict(guess) for guess in draft.guesses],
        "questions": [asdict(question) | {"key": _path(question, draft.name)} for question in draft.questions],
        "notes": list(draft.notes),
        "changes": [asdict(change) for change in start.changes],
        "entry": start.entry,
        "files": list(start.files),
        "outside": str(start.outside) if start.outside else None,
        "next": list(commands(start)),
    }
    return emit_json(data)
