from __future__ import annotations

import re
from datetime import date
from html.parser import HTMLParser
from typing import Any

from builder.certify.questions import BY_ID, QUESTIONS
from builder.certify.review import AnswerState, ReviewedAnswer
from builder.certify.statement import StatementFacts, emit_statement_html, emit_statement_markdown

_FACTS = StatementFacts(
    drivers=[("demo", "1.0", "My <Company>")], components=[("plugin", "0.1", "V")], signers=[("vendor", "ab" * 32)],
    made=date(2026, 11, 27),
)  # fmt: skip


def _answer(name: str, **changes: Any) -> ReviewedAnswer:
    given = {"question": BY_ID[name], "state": AnswerState.ATTESTED, "sentence": "Jo said it", "answer": "by mail"}
    return ReviewedAnswer(**{**given, **changes})


def test_the_page_says_what_is_answered_and_by_whom() -> None:
    answers = [_answer("firmware"), _answer("support-contact")]
    for text in (emit_statement_markdown(_FACTS, answers), emit_statement_html(_FACTS, answers)):
        assert "by mail" in text
        assert "attested: Jo said it" in text
        assert "ab" * 32 in text
        assert text.index("Whom does a customer turn to") < text.index("Does the device need firmware")


def test_what_does_not_count_is_not_shown_as_an_answer() -> None:
    for state in set(AnswerState) - {AnswerState.PROVEN, AnswerState.ATTESTED}:
        answers = [_answer("firmware", state=state, answer="ANSWER")]
        for text in (emit_statement_markdown(_FACTS, answers), emit_statement_html(_FACTS, answers)):
            assert ("ANSWER" in text, "Not answered." in text, f"{state}:" in text) == (False, True, True)


def test_what_strangers_wrote_stays_text() -> None:
    hostile = "<script>alert(1)</script> [a](javascript:x) **b**\n# heading"
    answers = [_answer("firmware", answer=hostile, sentence=hostile)]
    page = emit_statement_html(_FACTS, answers)
    assert "<script" not in page
    text = emit_statement_markdown(_FACTS, answers)
    assert not re.search(r"^# heading", text, re.MULTILINE)
    assert r"\[a\](javascript:x) \*\*b\*\*" in text


def test_the_page_is_whole_and_loads_nothing() -> None:
    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not {"src", "href"} & {name for name, _ in attrs}

    answers = [_answer(question.id) for question in QUESTIONS]
    Reader().feed(emit_statement_html(_FACTS, answers))
    assert tags.count("dt") == tags.count("dd") == len(QUESTIONS) == 21
