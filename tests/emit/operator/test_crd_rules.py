"""Definitions that a cluster takes, and that may take the place of older ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.operator_bundles import CRD, CSV, Mutation, change, check_told, good_bundle, lint_documents, mutations_of

from builder.emit.operator.crd_rules import check_definition

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mutation", mutations_of("crd_rules"), ids=lambda mutation: mutation.id)
def test_a_mistake_is_told_where_it_is(mutation: Mutation, tmp_path: Path) -> None:
    check_told(mutation, tmp_path)


def test_a_webhook_that_converts_is_the_csv_s(tmp_path: Path) -> None:
    conversion = {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}}
    documents = change(good_bundle(), CRD, ("spec", "conversion"), conversion)
    assert "conversion" in {item.code for item in lint_documents(tmp_path / "a", documents).findings}
    name = "kerneldrivers.drivers.example.com"
    hook = {"type": "ConversionWebhook", "conversionCRDs": [name], "generateName": "x.y.z"}
    documents = change(documents, CSV, ("spec", "webhookdefinitions"), [hook])
    assert "conversion" not in {item.code for item in lint_documents(tmp_path / "b", documents).findings}


def test_versions_that_differ_need_a_conversion(tmp_path: Path) -> None:
    documents = good_bundle()
    other = json.loads(json.dumps(documents[CRD]["spec"]["versions"][0])) | {"name": "v1", "storage": False}
    documents = change(documents, CRD, ("spec", "versions", 1), other)
    assert "conversion" not in {item.code for item in lint_documents(tmp_path / "a", documents).findings}
    place = ("spec", "versions", 1, "schema", "openAPIV3Schema", "properties", "x")
    documents = change(documents, CRD, place, {"type": "string"})
    (found,) = [item for item in lint_documents(tmp_path / "b", documents).findings if item.code == "conversion"]
    assert str(found.severity) == "warning"


def test_an_integer_or_a_string_is_structural(tmp_path: Path) -> None:
    place = ("spec", "versions", 0, "schema", "openAPIV3Schema", "properties", "spec", "properties", "x")
    both = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    documents = change(good_bundle(), CRD, place, both)
    assert "structural" not in {item.code for item in lint_documents(tmp_path, documents).findings}


def test_a_schema_without_an_end_has_one(tmp_path: Path) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        schema = {"type": "array", "items": schema}
    (found,) = [one for one in check_definition({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"x": schema}}}}]}}) if "deeper" in one.message]  # fmt: skip
    assert found.code == "structural"
