"""The chart: few words, and none that undoes what people have. The real Helm reads it in tests/integration/kind."""

from __future__ import annotations

import json

import yaml
from fakes.operator_facts import operator_facts

from builder.emit.kmm.version import Flavour
from builder.emit.operator.chart import emit_chart
from builder.emit.operator.model import make_operator


def _files(flavour: Flavour = Flavour.OPENSHIFT) -> dict[str, str]:
    facts = operator_facts(flavour=flavour)
    return emit_chart(facts, make_operator(facts))


def test_values_are_the_optional_rights_alone() -> None:
    assert yaml.safe_load(_files()["values.yaml"]) == {"drain": False, "holdPools": False}
    assert yaml.safe_load(_files(Flavour.UPSTREAM)["values.yaml"]) == {"drain": False}
    schema = json.loads(_files()["values.schema.json"])
    assert schema["properties"].keys() == {"drain", "holdPools", "global"}
    assert schema["additionalProperties"] is False


def test_helm_does_not_take_drivers_from_nodes() -> None:
    """With the kind, or a driver's namespace, all of its objects would go."""
    files = _files()
    for name in ("00-crd", "30-drivers"):
        for item in yaml.safe_load_all(files[f"templates/{name}.yaml"]):
            assert item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "resource-policy" not in files["templates/40-operator.yaml"] + files["templates/20-access.yaml"]


def test_its_version_is_that_of_the_operator() -> None:
    chart = yaml.safe_load(_files()["Chart.yaml"])
    assert (chart["version"], chart["appVersion"], chart["name"]) == ("1.4.0", "1.4.0", "kmod-operator")


def test_the_release_s_namespace_is_helm_s() -> None:
    assert not [name for name in _files() if name == "templates/10-namespace.yaml"]
    assert 'ne .Release.Namespace "kmod-operator"' in _files()["templates/00-namespace-is-right.yaml"]
