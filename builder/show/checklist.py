"""The reviewed checklist, for people and for programs. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from builder.show.table import make_table
from builder.writing import count, emit_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from builder.certify.review import ReviewedAnswer

FORMAT_VERSION = 1
_STYLE = {
    "proven": "green",
    "attested": "green",
    "open": "yellow",
    "expired": "red",
    "refuted": "bold red",
    "unknown": "yellow",
}


def emit_checklist(answers: Sequence[ReviewedAnswer]) -> RenderableType:
    """Return a row for each question: what is answered, and why the others are open."""
    table = make_table("", "question", "answer, or why it is open")
    for item in answers:
        said = item.sentence if item.is_open else item.answer
        table.add_row(Text(item.state, style=_STYLE[item.state]), item.question.id, said)
    return table


def emit_checklist_summary(answers: Sequence[ReviewedAnswer]) -> str:
    states = Counter(str(item.state) for item in answers)
    parts = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return f"{count(len(answers), 'question')}: {parts}"


def emit_checklist_json(answers: Sequence[ReviewedAnswer]) -> str:
    rows = []
    for item in answers:
        data = asdict(item)
        question = data.pop("question")
        last_day = str(item.last_day) if item.last_day else None
        rows.append({**question, **data, "last_day": last_day, "is_open": item.is_open})
    return emit_json({"format": FORMAT_VERSION, "open": sum(item.is_open for item in answers), "questions": rows})
