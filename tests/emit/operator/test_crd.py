"""The vendor's kind: what a schema must not have, and what it must be bounded by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.operator_facts import operator_settings

from builder.emit.operator.crd import make_crd, make_schema

if TYPE_CHECKING:
    from collections.abc import Iterator


def _walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from _walk(field, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield from _walk(schema[word], f"{path}[]")


_FIELDS = dict(_walk(make_schema(["drv"])))


def test_names_are_those_of_versions_yaml() -> None:
    crd = make_crd(operator_settings(kind="GpuDriver", plural="gpudrivers", group="gpu.example.org"), [])
    assert crd["metadata"]["name"] == "gpudrivers.gpu.example.org"
    assert crd["spec"]["names"] == {
        "kind": "GpuDriver", "listKind": "GpuDriverList", "plural": "gpudrivers", "singular": "gpudriver",
    }  # fmt: skip
    assert (crd["spec"]["group"], crd["spec"]["scope"]) == ("gpu.example.org", "Cluster")


def test_the_status_is_a_subresource_and_columns_show_it() -> None:
    (version,) = make_crd(operator_settings(), [])["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    always = [item["name"] for item in version["additionalPrinterColumns"] if not item.get("priority")]
    assert always == ["Driver", "Version", "Ready", "Nodes", "Age"]


def test_every_field_teaches() -> None:
    silent = {path for path, field in _FIELDS.items() if not field.get("description")}
    assert silent == {".metadata"} | {path for path in _FIELDS if path.endswith("[]") and "nodeSelector" in path}


def test_nothing_has_a_default() -> None:
    """One could never be changed again."""
    assert not [path for path, field in _FIELDS.items() if "default" in field]


def test_only_three_fields_are_required_of_people() -> None:
    required = {
        path: field["required"] for path, field in _FIELDS.items() if "required" in field and ".status" not in path
    }
    assert required == {"": ["spec"], ".spec": ["driver", "index"], ".spec.driver": ["name", "version"]}


def test_what_people_write_is_bounded() -> None:
    bounds = {"string": ("maxLength", "enum"), "array": ("maxItems",), "integer": ("maximum",)}
    for path, field in _FIELDS.items():
        if (
            path.startswith(".spec")
            and (words := bounds.get(field.get("type", "")))
            and "tolerationSeconds" not in path
        ):
            assert any(word in field for word in words), path
        if "additionalProperties" in field:
            assert "maxProperties" in field, path


def test_rules_say_what_is_wrong() -> None:
    rules = {
        path: [rule["rule"] for rule in field["x-kubernetes-validations"]]
        for path, field in _FIELDS.items()
        if "x-kubernetes-validations" in field
    }
    assert rules.keys() == {
        "", ".spec.driver.name", ".spec.index", ".spec.tolerations[]", ".spec.rollout.canary",
    }  # fmt: skip
    assert rules[".spec.driver.name"] == ["self == oldSelf"]
    assert all(rule["message"] for field in _FIELDS.values() for rule in field.get("x-kubernetes-validations", ()))


def test_lists_of_the_status_are_bounded_maps() -> None:
    for name, key in (("conditions", "type"), ("kernels", "kernel"), ("releases", "release")):
        field = _FIELDS[f".status.{name}"]
        assert (field["x-kubernetes-list-type"], field["x-kubernetes-list-map-keys"]) == ("map", [key])
        assert field["maxItems"] <= 64
