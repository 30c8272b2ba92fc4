"""What objects of KMM need of other objects in the same files; those that are not there are not ours to know. Pure."""

from __future__ import annotations

import base64
import binascii
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.emit.kmm.documents import as_mapping
from builder.emit.kmm.problem import Path, Problem, warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from builder.emit.kmm.documents import KubernetesObject

# Where KMM reads which key of what (internal/build, internal/sign); imageRepoSecret is read by kubelet's rules.
_WANTED = {
    "dockerfileConfigMap": ("ConfigMap", "dockerfile"),
    "keySecret": ("Secret", "key"),
    "certSecret": ("Secret", "cert"),
    "imageRepoSecret": ("Secret", ""),
}
_NFD_PREFIX = "feature.node.kubernetes.io/"
# A word is compared with every name that there is; nobody reads a guess out of more than these.
_MOST_COMPARED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The objects of all files, ready to be asked for: many ask, so each is looked at once."""

    named: Mapping[tuple[str, str], Sequence[KubernetesObject]]
    """By kind and name; those of several namespaces share both."""
    of_kind: Mapping[str, Sequence[KubernetesObject]]
    labels: frozenset[str]
    """Labels that NodeFeatureRules make, without their prefix."""

    def find(self, kind: str, name: str, namespace: str) -> KubernetesObject | None:
        """Return an object of a namespace, or one that says none."""
        return next((item for item in self.named.get((kind, name), ()) if item.namespace in {"", namespace}), None)

    def nearest(self, kind: str, name: str, namespace: str) -> str:
        """Return the name that was probably meant; empty where none is near."""
        others = [item.name for item in self.of_kind.get(kind, ()) if item.namespace in {"", namespace}]
        return _nearest(name, others)


def know_neighbours(objects: Iterable[KubernetesObject]) -> Neighbours:
    """Arrange objects so that others can ask for them."""
    named: dict[tuple[str, str], list[KubernetesObject]] = {}
    of_kind: dict[str, list[KubernetesObject]] = {}
    for item in objects:
        named.setdefault((item.kind, item.name), []).append(item)
        if len(found := of_kind.setdefault(item.kind, [])) <= _MOST_COMPARED:
            found.append(item)
    labels = {label for (kind, _), rules in named.items() if kind == "NodeFeatureRule" for label in _made_labels(rules)}
    return Neighbours(named=named, of_kind=of_kind, labels=frozenset(labels))


def check_references(item: KubernetesObject, neighbours: Neighbours) -> Iterator[Problem]:
    """Check that what an object names is there, as far as the files have objects of that kind at all."""
    for path, kind, name, key in _references(as_mapping(item.data).get("spec"), ("spec",)):
        named = neighbours.find(kind, name, item.namespace)
        if named is None:
            if near := neighbours.nearest(kind, name, item.namespace):
                message = f"these files have no {kind} {name!r}: did you mean {near!r}?"
                yield warn((*path, "name"), "reference", message)
            continue
        there = {key for part in ("data", "stringData") for key in as_mapping(as_mapping(named.data).get(part))}
        if key and key not in there:
            message = f"{kind} {name} has no key {key!r}, only {', '.join(sorted(map(str, there))) or 'none'}"
            yield Problem(path=path, code="reference", message=message)
    yield from _check_labels(item, neighbours.labels)


def check_secret(item: KubernetesObject) -> Iterator[Problem]:
    """Check that the values of a Secret's ``data`` are base64: the API server refuses others."""
    for key, value in as_mapping(as_mapping(item.data).get("data")).items():
        try:
            base64.b64decode("".join(str(value).split()).encode(), validate=True)
        except (binascii.Error, ValueError):
            message = "is not base64: write the text itself under 'stringData'"
            yield Problem(path=("data", key), code="base64", message=message)


def _check_labels(item: KubernetesObject, made: frozenset[str]) -> Iterator[Problem]:
    """Compare a selector's labels with those that NodeFeatureRules in the same files make."""
    spec = as_mapping(as_mapping(item.data).get("spec"))
    for label in as_mapping(spec.get("selector")) if made else ():
        plain = str(label).removeprefix(_NFD_PREFIX)
        if str(label).startswith(_NFD_PREFIX) and plain not in made:
            near = _nearest(plain, sorted(made) if len(made) <= _MOST_COMPARED else ())
            hint = f": did you mean {_NFD_PREFIX}{near}?" if near else ""
            yield warn(("spec", "selector", label), "label", f"no NodeFeatureRule of these files makes it{hint}")


def _nearest(word: str, words: Sequence[str]) -> str:
    if len(words) > _MOST_COMPARED:
        return ""
    return next(iter(difflib.get_close_matches(word, words, n=1)), "")


def _made_labels(objects: Iterable[KubernetesObject]) -> Iterator[str]:
    for item in objects:
        rules = as_mapping(as_mapping(item.data).get("spec")).get("rules")
        for entry in rules if isinstance(rules, list) else ():
            for label in as_mapping(as_mapping(entry).get("labels")):
                yield str(label).removeprefix(_NFD_PREFIX)


def _references(value: Any, path: Path) -> Iterator[tuple[Path, str, str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _WANTED and isinstance(inner, dict):
                kind, key = _WANTED[name]
                yield (*path, name), kind, str(inner.get("name")), key
            yield from _references(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _references(inner, (*path, number))
