"""Objects beside the fields that KMM knows."""

from __future__ import annotations

from typing import Any

import pytest

from builder.emit.kmm.fields import Field, Kind
from builder.emit.kmm.schema import check_field
from builder.emit.kmm.version import KmmVersion

_FIELD = Field(
    kind=Kind.OBJECT,
    fields={
        "name": Field(kind=Kind.TEXT, is_required=True),
        "count": Field(kind=Kind.NUMBER),
        "on": Field(kind=Kind.BOOLEAN),
        "labels": Field(kind=Kind.LABELS),
        "items": Field(kind=Kind.LIST, item=Field(kind=Kind.TEXT)),
        "newer": Field(kind=Kind.TEXT, since="2.7"),
        "any": Field(kind=Kind.ANY),
    },
)


def _found(value: Any) -> list[tuple[str, str, str]]:
    problems = check_field(value, _FIELD, ("spec",), KmmVersion.V2_6)
    return [(item.code, ".".join(map(str, item.path)), item.message) for item in problems]


def test_what_is_as_it_should_be() -> None:
    value = {
        "name": "a",
        "count": 1,
        "on": True,
        "labels": {"a": "b"},
        "items": ["a"],
        "any": [None, {}],
        "newer": None,
    }
    del value["newer"]
    assert _found(value) == []


@pytest.mark.parametrize(
    ("change", "code", "path", "words"),
    [
        ({"name": None}, "missing", "spec", "'name' is required and missing"),
        ({"name": 1.5}, "kind", "spec.name", "put 1.5 in quotes"),
        ({"count": True}, "kind", "spec.count", "must be"),
        ({"on": "true"}, "kind", "spec.on", "must be"),
        ({"labels": {"a": 1}}, "kind", "spec.labels", "put 1 in quotes"),
        ({"items": {}}, "kind", "spec.items", "must be"),
        ({"items": ["a", None]}, "kind", "spec.items.1", "not nothing"),
        ({"newer": "x"}, "too-new", "spec.newer", "came with KMM 2.7; 2.6 drops it silently"),
        ({"Name": "x"}, "unknown-field", "spec.Name", "did you mean 'name'?"),
        ({"other": "x"}, "unknown-field", "spec.other", "known here: any, count"),
    ],
)
def test_each_difference_is_told_at_its_place(change: dict[str, Any], code: str, path: str, words: str) -> None:
    ((found, place, message),) = _found({"name": "a"} | change)
    assert (found, place) == (code, path)
    assert words in message
