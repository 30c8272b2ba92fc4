"""What objects of KMM need of other objects in the same files; those that are not there are not ours to know. Pure."""

from __future__ import annotations

import base64
import binascii
import difflib
from typing import TYPE_CHECKING, Any

from builder.emit.kmm.documents import as_mapping
from builder.emit.kmm.problem import Path, Problem, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.emit.kmm.documents import KubernetesObject

# Where KMM reads which key of what (internal/build, internal/sign); imageRepoSecret is read by kubelet's rules.
_WANTED = {
    "dockerfileConfigMap": ("ConfigMap", "dockerfile"),
    "keySecret": ("Secret", "key"),
    "certSecret": ("Secret", "cert"),
    "imageRepoSecret": ("Secret", ""),
}
_NFD_PREFIX = "feature.node.kubernetes.io/"


def check_references(item: KubernetesObject, known: Sequence[KubernetesObject]) -> Iterator[Problem]:
    """Check that what an object names is there, as far as the files have objects of that kind at all."""
    for path, kind, name, key in _references(as_mapping(item.data).get("spec"), ("spec",)):
        others = [other for other in known if other.kind == kind and other.namespace in {"", item.namespace}]
        named = next((other for other in others if other.name == name), None)
        if named is None:
            names = [other.name for other in others]
            if near := difflib.get_close_matches(name, names, n=1):
                yield warn(
                    (*path, "name"), "reference", f"these files have no {kind} {name!r}: did you mean {near[0]!r}?"
                )
            continue
        there = {*as_mapping(as_mapping(named.data).get("data")), *as_mapping(as_mapping(named.data).get("stringData"))}
        if key and key not in there:
            message = f"{kind} {name} has no key {key!r}, only {', '.join(sorted(map(str, there))) or 'none'}"
            yield Problem(path=path, code="reference", message=message)
    yield from _check_labels(item, known)


def check_secret(item: KubernetesObject) -> Iterator[Problem]:
    """Check that the values of a Secret's ``data`` are base64: the API server refuses others."""
    for key, value in as_mapping(as_mapping(item.data).get("data")).items():
        try:
            base64.b64decode("".join(str(value).split()).encode(), validate=True)
        except (binascii.Error, ValueError):
            message = "is not base64: write the text itself under 'stringData'"
            yield Problem(path=("data", key), code="base64", message=message)


def _check_labels(item: KubernetesObject, known: Sequence[KubernetesObject]) -> Iterator[Problem]:
    """Compare a selector's labels with those that NodeFeatureRules in the same files make."""
    made = {label for other in known if other.kind == "NodeFeatureRule" for label in _made_labels(other)}
    spec = as_mapping(as_mapping(item.data).get("spec"))
    for label in as_mapping(spec.get("selector")) if made else ():
        plain = str(label).removeprefix(_NFD_PREFIX)
        if str(label).startswith(_NFD_PREFIX) and plain not in made:
            near = difflib.get_close_matches(plain, made, n=1)
            hint = f"did you mean {_NFD_PREFIX}{near[0]}?" if near else f"they make {', '.join(sorted(made))}"
            yield warn(("spec", "selector", label), "label", f"no NodeFeatureRule of these files makes it: {hint}")


def _made_labels(rule: KubernetesObject) -> Iterator[str]:
    rules = as_mapping(as_mapping(rule.data).get("spec")).get("rules")
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
