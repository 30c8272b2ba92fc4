"""KMM's fields are those of its CRDs, of every version."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from builder.emit.kmm.fields import MODULE_SPEC, SPECS, Field, Kind
from builder.emit.kmm.problem import Severity
from builder.emit.kmm.version import KmmVersion

_DATA = Path(__file__).parents[2] / "data" / "kmm"


@pytest.mark.parametrize("version", ["2.4", "2.6", "2.7"])
def test_our_fields_are_those_of_the_crds(version: str) -> None:
    kinds = json.loads((_DATA / f"{version}.json").read_text())["openshift"]["kinds"]
    for kind, (api_version, known) in SPECS.items():
        assert kinds[kind]["apiVersion"] == api_version
        schema = kinds[kind]["schema"]["properties"]["spec"]
        if kind == "ManagedClusterModule":
            schema["properties"]["moduleSpec"] = kinds["Module"]["schema"]["properties"]["spec"]
        _compare(known, schema, kind, KmmVersion(version))


_TYPES = {Kind.OBJECT: "object", Kind.LIST: "array", Kind.TEXT: "string", Kind.BOOLEAN: "boolean", Kind.NUMBER: "integer", Kind.LABELS: "object"}  # fmt: skip


def _compare(known: Field, schema: dict[str, Any], path: str, version: KmmVersion) -> None:
    if known.kind is Kind.ANY:
        return
    assert schema["type"] == _TYPES[known.kind], path
    if known.kind is Kind.LIST:
        assert known.item is not None
        _compare(known.item, schema["items"], f"{path}[]", version)
    if known.kind is Kind.OBJECT:
        fields = {name: item for name, item in known.fields.items() if version.has(item.since)}
        assert set(fields) == set(schema["properties"]), path
        assert {name for name, item in fields.items() if item.is_required} == set(schema.get("required", ())), path
        for name, item in fields.items():
            _compare(item, schema["properties"][name], f"{path}.{name}", version)


def test_both_flavours_have_the_same_module() -> None:
    for file in _DATA.glob("*.json"):
        data = json.loads(file.read_text())
        assert data["upstream"]["kinds"]["Module"] == "openshift", "the generator of the file found them equal"
        assert re.fullmatch("[0-9a-f]{40}", data["openshift"]["commit"])
    assert MODULE_SPEC.fields["dra"].since == "2.7"
    assert Severity("error") is Severity.ERROR
