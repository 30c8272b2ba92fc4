"""What every declaration is made with; that each form of them has words, tests/config/test_translate.py holds."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import AfterValidator, ValidationError

from builder.config.model.declaration import FORMS, Declaration, complain, form


def _refuse(text: str) -> str:
    raise complain(f"{text!r} {{is}} refused")


class _Said(Declaration):
    number: int = 0
    word: Annotated[str, AfterValidator(_refuse)] = ""


@pytest.mark.parametrize(
    ("said", "kind"),
    [({"number": "1"}, "int_type"), ({"number": True}, "int_type"), ({"numbr": 1}, "extra_forbidden")],
)
def test_nothing_is_converted_and_nothing_passed_over(said: dict[str, object], kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _Said.model_validate(said)
    assert [error["type"] for error in caught.value.errors()] == [kind]


def test_what_was_read_stays_as_it_is() -> None:
    said = _Said(number=1)
    with pytest.raises(ValidationError, match="frozen"):
        said.number = 2


def test_a_complaint_is_told_as_it_stands() -> None:
    with pytest.raises(ValidationError) as caught:
        _Said.model_validate({"word": "x"})
    (error,) = caught.value.errors()
    assert (error["type"], error["msg"]) == ("kmodsmith", "'x' {is} refused")


def test_a_form_is_kept_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = r"^only-here$"
    monkeypatch.setitem(FORMS, pattern, "")
    form(pattern, "the word only-here")
    assert FORMS[pattern] == "the word only-here"
