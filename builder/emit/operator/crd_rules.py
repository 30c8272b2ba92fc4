"""Whether a cluster takes a CustomResourceDefinition, and in the place of the one that it has. Pure.

Source: Kubernetes' documentation of custom resources (structural schemas, versions, conversion), and the rules of
``upgrade_safety.py``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from builder.emit.kmm.documents import as_mapping
from builder.emit.kmm.problem import Problem, warn
from builder.emit.operator.upgrade_safety import find_breaks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.emit.kmm.documents import KubernetesObject
    from builder.emit.kmm.problem import Path

_VERSION = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_KIND = re.compile(r"[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_TYPES = frozenset({"array", "boolean", "integer", "number", "object", "string"})
_NEVER = ("$ref", "definitions", "dependencies", "deprecated", "discriminator", "id", "patternProperties", "readOnly",
          "writeOnly", "xml")  # fmt: skip
_JUNCTORS = ("allOf", "anyOf", "oneOf", "not")
# What belongs beside a junctor and not into it: a value has one form, whichever branch it takes.
_NOT_INSIDE = ("additionalProperties", "default", "description", "nullable", "title", "type")
_ANY, _OPEN = "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"
_DEEPEST = 60
_PROTECTED = (".k8s.io", ".kubernetes.io")
_APPROVED = "api-approved.kubernetes.io"


def check_definition(data: Any) -> Iterator[Problem]:
    """Check one definition."""
    item = as_mapping(data)
    spec = as_mapping(item.get("spec"))
    if not spec:
        yield Problem(path=(), code="crd-spec", message="has no spec")
        return
    yield from _check_names(item, spec)
    if spec.get("preserveUnknownFields") is True:
        words = "spec.preserveUnknownFields: v1 refuses it; x-kubernetes-preserve-unknown-fields says it in the schema"
        yield Problem(path=("spec", "preserveUnknownFields"), code="structural", message=words)
    versions = spec.get("versions")
    if not isinstance(versions, list) or not versions:
        yield Problem(path=("spec",), code="crd-versions", message="has no versions")
        return
    yield from _check_versions([as_mapping(one) for one in versions])
    for number, one in enumerate(versions):
        yield from _check_version(as_mapping(one), ("spec", "versions", number))


def _check_names(item: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[Problem]:
    names, group = as_mapping(spec.get("names")), spec.get("group")
    metadata = as_mapping(item.get("metadata"))
    plural, kind = names.get("plural"), names.get("kind")
    if not (isinstance(group, str) and "." in group and all(_LABEL.fullmatch(one) for one in group.split("."))):
        yield Problem(path=("spec", "group"), code="crd-names", message=f"{group!r:.100} is no domain with a dot in it")
    for word, value, form in (("plural", plural, _LABEL), ("kind", kind, _KIND)):
        if not (isinstance(value, str) and form.fullmatch(value)):
            words = f"spec.names.{word} is {value!r:.60}, which is no name"
            yield Problem(path=("spec", "names"), code="crd-names", message=words)
    if metadata.get("name") != f"{plural}.{group}":
        words = f"is called {metadata.get('name')!r:.100}, and has to be called '{plural}.{group}'"
        yield Problem(path=("metadata", "name"), code="crd-names", message=words)
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        words = f"spec.scope is {spec.get('scope')!r:.60}: Cluster or Namespaced"
        yield Problem(path=("spec", "scope"), code="crd-names", message=words)
    is_protected = isinstance(group, str) and group.endswith(_PROTECTED)
    if is_protected and _APPROVED not in as_mapping(metadata.get("annotations")):
        words = f"the group {group} is Kubernetes' own, and the annotation {_APPROVED} is absent"
        yield Problem(path=("spec", "group"), code="crd-names", message=words)


def _check_versions(versions: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    path = ("spec", "versions")
    stored = [one for one in versions if one.get("storage") is True]
    if len(stored) != 1:
        words = f"{len(stored)} versions are stored (storage: true), and one has to be"
        yield Problem(path=path, code="crd-versions", message=words)
    if not any(one.get("served") is True for one in versions):
        yield warn(path, "crd-versions", "no version is served: nobody can read or write an object")
    names = [one.get("name") for one in versions]
    for number, one in enumerate(versions):
        name = one.get("name")
        if not (isinstance(name, str) and _VERSION.fullmatch(name)):
            yield Problem(path=(*path, number), code="crd-versions", message=f"{name!r:.60} is no name of a version")
        elif names.index(name) != number:
            yield Problem(path=(*path, number), code="crd-versions", message=f"version {name} is there twice")
        for word in ("served", "storage"):
            if not isinstance(one.get(word), bool):
                words = f"{word} is {one.get(word)!r:.60}, and has to be true or false"
                yield Problem(path=(*path, number), code="crd-versions", message=words)


def _check_version(version: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    schema = as_mapping(version.get("schema")).get("openAPIV3Schema")
    place = (*path, "schema", "openAPIV3Schema")
    if not isinstance(schema, dict) or not schema:
        yield Problem(path=path, code="structural", message="has no schema.openAPIV3Schema")
        return
    if schema.get("type") != "object":
        words = f"the type of an object is 'object', and not {schema.get('type')!r:.60}"
        yield Problem(path=place, code="structural", message=words)
    if schema.get(_OPEN) is True:
        yield warn((*place, _OPEN), "open-schema", "whatever is written is kept: no word that is spelled wrong is told")
    yield from _check_schema(schema, place, 0)
    fields = as_mapping(schema.get("properties"))
    if "status" in fields and "status" not in as_mapping(version.get("subresources")):
        yield warn(path, "no-status", "its status is no subresource: who may write the spec may write it, too")


def _check_schema(schema: Mapping[str, Any], path: Path, depth: int) -> Iterator[Problem]:
    """Check that a schema is structural: each value has one form, which is said in one place."""
    if depth > _DEEPEST:
        yield Problem(path=path, code="structural", message=f"the schema is deeper than {_DEEPEST} levels")
        return
    yield from _check_type(schema, path)
    for word in _NEVER:
        if word in schema:
            yield Problem(path=(*path, word), code="structural", message=f"{word} may not be in a schema of a cluster")
    for is_wrong, words in (
        (schema.get("uniqueItems") is True, "uniqueItems is refused: x-kubernetes-list-type: set says it"),
        ("properties" in schema and "additionalProperties" in schema,
         "properties and additionalProperties exclude each other"),
        (schema.get("x-kubernetes-list-type") == "map" and not schema.get("x-kubernetes-list-map-keys"),
         "x-kubernetes-list-type: map needs x-kubernetes-list-map-keys"),
    ):  # fmt: skip
        if is_wrong:
            yield Problem(path=path, code="structural", message=words)
    for word in _JUNCTORS:
        yield from _check_junctor(schema.get(word), (*path, word))
    for inner, place in _inner(schema, path):
        if isinstance(inner, dict):
            yield from _check_schema(inner, place, depth + 1)
        else:
            yield Problem(path=place, code="structural", message=f"is no schema, but {inner!r:.60}")


def _check_type(schema: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    kind = schema.get("type")
    if kind is None and schema.get(_OPEN) is not True and schema.get(_ANY) is not True:
        yield Problem(path=path, code="structural", message="has no type")
    elif kind is not None and not (isinstance(kind, str) and kind in _TYPES):
        yield Problem(path=(*path, "type"), code="structural", message=f"there is no type {kind!r:.60}")
    if kind == "array" and not isinstance(schema.get("items"), dict):
        yield Problem(path=path, code="structural", message="an array has 'items', which are one schema")


def _inner(schema: Mapping[str, Any], path: Path) -> Iterator[tuple[Any, Path]]:
    fields = schema.get("properties")
    if isinstance(fields, dict):
        for name, field in fields.items():
            yield field, (*path, "properties", name)
    elif fields is not None:
        yield fields, (*path, "properties")
    if isinstance(schema.get("items"), dict):
        yield schema["items"], (*path, "items")
    if "additionalProperties" in schema and not isinstance(schema["additionalProperties"], bool):
        yield schema["additionalProperties"], (*path, "additionalProperties")


def _check_junctor(found: Any, path: Path) -> Iterator[Problem]:
    branches = found if isinstance(found, list) else [found] if isinstance(found, dict) else []
    for number, branch in enumerate(branches):
        place = (*path, number) if isinstance(found, list) else path
        for word in _NOT_INSIDE:
            if word in as_mapping(branch) and not _is_int_or_string(branches, word):
                words = f"{word} may not be inside of {path[-1]}: it belongs beside it"
                yield Problem(path=place, code="structural", message=words)


def _is_int_or_string(branches: Sequence[Any], word: str) -> bool:
    """Tell whether it is the one exception: ``anyOf`` of an integer and a string."""
    return word == "type" and sorted(str(as_mapping(one).get("type")) for one in branches) == ["integer", "string"]


def check_conversion(data: Any, csvs: Sequence[KubernetesObject]) -> Iterator[Problem]:
    """Check how objects of one version are read as those of another."""
    spec = as_mapping(as_mapping(data).get("spec"))
    conversion = as_mapping(spec.get("conversion"))
    path = ("spec", "conversion")
    name = as_mapping(as_mapping(data).get("metadata")).get("name")
    strategy = conversion.get("strategy", "None")
    if strategy not in ("None", "Webhook"):
        yield Problem(path=path, code="conversion", message=f"there is no strategy {strategy!r:.60}: None or Webhook")
    elif strategy == "Webhook":
        webhook = as_mapping(conversion.get("webhook"))
        if not webhook.get("conversionReviewVersions"):
            words = "webhook.conversionReviewVersions is absent"
            yield Problem(path=path, code="conversion", message=words)
        if csvs and not any(name in _converted(csv) for csv in csvs):
            words = f"no webhook of the ClusterServiceVersion converts {name} (type ConversionWebhook, conversionCRDs)"
            yield Problem(path=path, code="conversion", message=words)
    else:
        versions = spec.get("versions")
        served = (
            [as_mapping(one) for one in versions if as_mapping(one).get("served")] if isinstance(versions, list) else []
        )
        schemas = [as_mapping(one.get("schema")).get("openAPIV3Schema") for one in served]
        if any(one != schemas[0] for one in schemas[1:]):
            words = "versions have different schemas, and nothing converts between them: fields would be lost"
            yield warn(("spec", "versions"), "conversion", words)


def _converted(csv: KubernetesObject) -> list[Any]:
    found = as_mapping(as_mapping(csv.data).get("spec")).get("webhookdefinitions")
    hooks = [as_mapping(one) for one in found] if isinstance(found, list) else []
    named = [one.get("conversionCRDs") for one in hooks if one.get("type") == "ConversionWebhook"]
    return [name for names in named if isinstance(names, list) for name in names]


def check_upgrade(
    older: Sequence[KubernetesObject], newer: Sequence[KubernetesObject]
) -> Iterator[tuple[KubernetesObject | None, Problem]]:
    """Check whether each definition may take the place of the older one of its name; None: it is not there any more."""
    there = {item.name: item for item in newer}
    for old in older:
        new = there.get(old.name)
        if new is None:
            words = f"the kind {old.name} is gone: objects of it would go with it"
            yield None, Problem(path=(), code="upgrade", message=words)
        elif not (is_comparable(old.data) and is_comparable(new.data)):
            words = f"cannot be compared with the older one ({old.document.file}): one of the two is not whole"
            yield new, Problem(path=("spec",), code="upgrade-unknown", message=words)
        else:
            for sentence in find_breaks(old.data, new.data):
                words = f"OLM v1 refuses it in the place of {old.document.file}: {sentence}"
                yield new, Problem(path=("spec", "versions"), code="upgrade", message=words)


def is_comparable(data: Any) -> bool:
    """Tell whether a definition has the form that is compared."""
    spec = as_mapping(as_mapping(data).get("spec"))
    versions = spec.get("versions")
    if not isinstance(spec.get("scope"), str) or not isinstance(versions, list) or not versions:
        return False
    return all(
        isinstance(as_mapping(one).get("name"), str)
        and _is_schema(as_mapping(as_mapping(one).get("schema")).get("openAPIV3Schema"), 0)
        for one in versions
    )


def _is_schema(schema: Any, depth: int) -> bool:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return False
    forms = {"properties": dict, "required": list, "enum": list}
    if not all(isinstance(schema[word], form) for word, form in forms.items() if word in schema):
        return False
    bounds = [value for word, value in schema.items() if word.startswith(("min", "max"))]
    said = [schema.get(word) for word in ("items", "additionalProperties")]
    inner = [one for one in said if one is not None and not isinstance(one, bool)]
    return (
        all(isinstance(one, str) for one in schema.get("required", ()))
        and all(isinstance(one, int | float) for one in bounds)
        and all(_is_schema(one, depth + 1) for one in (*schema.get("properties", {}).values(), *inner))
    )
