"""Objects in documents, also those inside of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder.config.yamlfile import YamlFile
from builder.emit.kmm.documents import find_objects

_MODULE = {"kind": "Module", "apiVersion": "kmm.sigs.x-k8s.io/v1beta1", "metadata": {"name": "drv", "namespace": "n"}}


def _find(data: Any) -> list[tuple[str, str, tuple[Any, ...]]]:
    return [(item.kind, item.name, item.place) for item in find_objects(YamlFile(file=Path("x"), data=data))]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"kind": "List", "apiVersion": "v1", "items": [{}, _MODULE]}, ("items", 1)),
        ({"spec": {"templates": [{"object": _MODULE}]}}, ("spec", "templates", 0, "object")),
    ],
)
def test_objects_are_found_wherever_they_stand(data: Any, place: tuple[Any, ...]) -> None:
    assert _find(data)[1:] == [("Module", "drv", place)]


@pytest.mark.parametrize("data", [None, [], "text", {"kind": 7, "metadata": []}, {"spec": {"kind": "Module"}}])
def test_what_is_no_object_is_only_the_document(data: Any) -> None:
    assert len(_find(data)) == 1


def test_what_an_object_says_of_itself() -> None:
    (item,) = find_objects(YamlFile(file=Path("x"), data=_MODULE))
    assert (item.group, item.namespace) == ("kmm.sigs.x-k8s.io", "n")
