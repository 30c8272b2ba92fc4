from __future__ import annotations

import json
from datetime import date

from rich.console import Console

from builder.certify.questions import QUESTIONS
from builder.certify.review import AnswerState, ReviewedAnswer
from builder.show.checklist import emit_checklist, emit_checklist_json, emit_checklist_summary

_ANSWERS = [
    ReviewedAnswer(question=QUESTIONS[0], state=AnswerState.ATTESTED, sentence="why", answer="[yes]", last_day=date(2027, 1, 1)),
    ReviewedAnswer(question=QUESTIONS[1], state=AnswerState.EXPIRED, sentence="too old", answer="OLD"),
]  # fmt: skip


def test_an_answer_that_does_not_count_is_not_shown() -> None:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(emit_checklist(_ANSWERS))
    text = captured.get()
    assert ("[yes]" in text, "too old" in text, "OLD" in text) == (True, True, False)
    assert emit_checklist_summary(_ANSWERS) == "2 questions: 1 attested, 1 expired"


def test_json() -> None:
    data = json.loads(emit_checklist_json(_ANSWERS))
    assert (data["format"], data["open"]) == (1, 1)
    assert data["questions"][0]["id"] == QUESTIONS[0].id
    assert [row["last_day"] for row in data["questions"]] == ["2027-01-01", None]
