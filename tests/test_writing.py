from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from builder.kernel import Arch
from builder.writing import about, count, emit_json, emit_json_parts, emit_yaml


def test_json_is_a_document_of_its_own() -> None:
    assert emit_json({"b": [1], "a": None}) == '{\n  "b": [\n    1\n  ],\n  "a": null\n}\n'
    assert json.loads(emit_json("é")) == "é"


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(Arch)
_NAMES = st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.sampled_from(Arch)


@given(st.recursive(_PLAIN, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(_NAMES, inner)))
def test_json_is_what_the_library_writes_byte_for_byte(data: object) -> None:
    assert emit_json(data) == json.dumps(data, indent=2) + "\n"


@pytest.mark.parametrize("items", [[], [1], [{"b": [2]}, "x", []]])
def test_what_is_iterated_over_is_a_list(items: list[object]) -> None:
    assert "".join(emit_json_parts({"a": iter(items), "b": 1})) == emit_json({"a": items, "b": 1})


def test_a_long_list_is_written_item_by_item() -> None:
    left = iter(range(1000))
    parts = emit_json_parts({"cells": ({"number": number} for number in left)})
    assert [next(parts), next(parts)] == ['{\n  "cells": ', '[\n    {\n      "number": 0\n    }']
    assert next(left) == 1


def test_what_json_has_no_word_for_is_refused() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        emit_json({"a": [object()]})


@pytest.mark.parametrize(
    "text",
    [
        "y",
        "N",
        "0o17",
        "1e3",
        "-2E5",
        "4.20",
        "08",
        "0308",
        "+09",
        "1.5e3",
        "true",
        "null",
        "2027-01-01",
        "two\nlines",
        "# no",
    ],
)
def test_text_stays_text_for_every_reader(text: str) -> None:
    written = emit_yaml({"value": text})
    assert yaml.safe_load(written) == {"value": text}
    assert written.removeprefix("value: ").strip()[0] in "'\"|", "Go's decoder reads more plain words as something else"


def test_what_is_there_twice_is_written_twice() -> None:
    same = {"a": ["x"]}
    text = emit_yaml({"one": same, "other": same})
    assert "&" not in text
    assert yaml.safe_load(text) == {"one": same, "other": same}


def test_keys_keep_their_order() -> None:
    assert emit_yaml({"b": 1, "a": 2}, {"c": 3}) == "b: 1\na: 2\n---\nc: 3\n"


@pytest.mark.parametrize(("number", "words"), [(0, "0 cells"), (1, "1 cell"), (2, "2 cells")])
def test_a_count_has_the_number_that_it_says(number: int, words: str) -> None:
    assert count(number, "cell") == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "about 5 s"), (42.0, "about 40 s"), (89.0, "about 90 s"), (91.0, "about 2 min"), (725.0, "about 12 min"),
        (5399.0, "about 1 h 30 min"), (12_000.0, "about 3 h 20 min"),
    ],
)  # fmt: skip
def test_times_that_are_not_known_to_the_second(seconds: float, words: str) -> None:
    assert about(seconds) == words


@pytest.mark.parametrize("value", [b"ab", {"b", "a"}, frozenset()])
def test_what_is_no_list_of_json_is_none_here(value: object) -> None:
    """Bytes would be numbers, and sets would be written in another order by each run."""
    for data in ({"a": value}, {"a": [value]}):
        with pytest.raises(TypeError):
            emit_json(data)
