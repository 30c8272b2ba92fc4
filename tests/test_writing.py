from __future__ import annotations

import json

import pytest
import yaml

from builder.writing import about, count, emit_json, emit_yaml


def test_json_is_a_document_of_its_own() -> None:
    assert emit_json({"b": [1], "a": None}) == '{\n  "b": [\n    1\n  ],\n  "a": null\n}\n'
    assert json.loads(emit_json("é")) == "é"


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
