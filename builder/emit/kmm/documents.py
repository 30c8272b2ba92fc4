"""Finds the objects in documents of YAML, also those inside of others: lists, policies, templates. Pure.

``oc get -o yaml`` prints a List; a Policy of Advanced Cluster Management, a ManifestWork and a Template carry whole
objects somewhere in their spec. What has a kind and an apiVersion is an object, wherever it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from builder.config.yamlfile import YamlFile
    from builder.emit.kmm.problem import Path
    from builder.errors import Mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesObject:
    """An object, and where it stands in its document."""

    document: YamlFile
    place: Path
    data: Any

    @property
    def kind(self) -> str:
        return str(as_mapping(self.data).get("kind") or "")

    @property
    def group(self) -> str:
        """The API group, without version; empty for the core."""
        return str(as_mapping(self.data).get("apiVersion") or "").rpartition("/")[0]

    @property
    def metadata(self) -> Mapping[str, Any]:
        return as_mapping(as_mapping(self.data).get("metadata"))

    @property
    def name(self) -> str:
        return str(self.metadata.get("name") or "")

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace") or "")

    def mistake(self, path: Path, message: str, *, at_key: bool = False) -> Mistake:
        return self.document.mistake((*self.place, *path), message, at_key=at_key)


def find_objects(document: YamlFile) -> Iterator[KubernetesObject]:
    """Yield the document itself, and every object in it, outer ones first."""
    yield KubernetesObject(document=document, place=(), data=document.data)
    yield from _find_inside(document, document.data, ())


def _find_inside(document: YamlFile, value: Any, place: Path) -> Iterator[KubernetesObject]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        path = (*place, key)
        if isinstance(inner, dict) and isinstance(inner.get("kind"), str) and "apiVersion" in inner:
            yield KubernetesObject(document=document, place=path, data=inner)
        yield from _find_inside(document, inner, path)


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return what is a mapping; anything else that somebody wrote in its place has nothing in it."""
    return value if isinstance(value, dict) else {}


def numbered(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield entries of a list with their numbers, each as a mapping; anything else has none."""
    for number, one in enumerate(value if isinstance(value, list) else ()):
        yield number, as_mapping(one)
