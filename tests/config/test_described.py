"""What the declaration says of keys, in the schema: test_reference.py holds that every key has words, and which."""

from __future__ import annotations

from builder.config.described import describe_schema


def test_words_of_a_class_and_of_those_that_it_is_made_from() -> None:
    schema = describe_schema()
    assert schema["properties"]["drivers"]["description"] == "What is built."
    settings = schema["$defs"]["BuildSettings"]["properties"]
    assert settings["retries"]["description"].startswith("How often a cell is tried again")
    assert all(value["description"] for value in schema["$defs"]["DebianKernels"]["properties"].values())


def test_words_of_several_lines_are_joined_as_they_stand() -> None:
    source = describe_schema()["$defs"]["Driver"]["properties"]["source"]
    lines = source["description"].splitlines()
    assert len(lines) > 1
    assert lines[1][:1] != " "
    assert list(source) == sorted(source)
