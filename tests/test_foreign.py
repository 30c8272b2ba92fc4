"""JSON that anybody may have written: read within bounds, or refused with a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pydantic import TypeAdapter

from builder.errors import FormatError
from builder.foreign import Base64, Parsed, parse_data, parse_json, parse_with, read_json, read_value


class _Thing(Parsed):
    name: str
    data: Base64 = b""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'"\\ud800"',
        b'{"a": {"\\udc00": 1}}',
        b'{"a": "\xff"}',
        b"9" * 5000,
    ],
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError, match="^the answer is not JSON: "):
        read_value(content, "the answer")


def test_json_is_read_as_it_is() -> None:
    assert read_value(b'["\\u00e4", 1.5, null]', "it") == ["ä", 1.5, None]
    assert read_json('{"a": {}}', "it") == {"a": {}}
    with pytest.raises(FormatError, match="it is not a JSON object"):
        read_json("[]", "it")


def test_it_may_not_be_larger_than_was_said() -> None:
    assert read_value(b"[1]", "it", largest=3) == [1]
    with pytest.raises(FormatError, match="it has 3 bytes, more than it may have"):
        read_value(b"[1]", "it", largest=2)


def test_what_nobody_asks_for_is_passed_over() -> None:
    found = parse_json(_Thing, '{"name": "n", "data": "YWI=", "more": []}', "thing")
    assert found.model_dump() == {"name": "n", "data": b"ab"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "it is no thing: it is not JSON"),
        ("[]", "it is no thing: it is not a JSON object"),
        ("{}", "it is no thing: name: Field required"),
        ('{"name": 7}', "it is no thing: name: "),
        ('{"name": "n", "data": "Y*I="}', "it is no thing: data: "),
        ('{"name": "n", "data": 7}', "it is no thing: data: .*base64 is text"),
    ],
)
def test_another_form_is_refused_with_its_place(content: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parse_json(_Thing, content, "thing")


@dataclass(frozen=True)
class _Row:
    number: int


def test_data_classes_are_held_to_their_types() -> None:
    adapter = TypeAdapter(_Row)
    assert parse_with(adapter, {"number": 1}, "row") == _Row(1)
    with pytest.raises(FormatError, match="it is no row: number: "):
        parse_with(adapter, {"number": "x"}, "row")
    with pytest.raises(FormatError, match="it is no thing: "):
        parse_data(_Thing, None, "thing")


def test_names_that_stand_twice_can_be_refused() -> None:
    assert read_json('{"a": {"b": 1, "b": 2}}', "it") == {"a": {"b": 2}}
    assert read_json('{"a": {"b": 1, "c": 2}}', "it", names_once=True) == {"a": {"b": 1, "c": 2}}
    for content in ('{"a": 1, "a": 1}', '{"a": {"b": 1, "b": 2}}', '{"a": 1, "\\u0061": 1}'):
        with pytest.raises(FormatError, match="it is not JSON: name '[ab]' stands twice"):
            read_json(content, "it", names_once=True)
