"""What the program is told: what it reads itself, and nothing that gives rights."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes.operator_facts import PEM, driver_facts, operator_facts
from kmod_operator.rollout.template import read_templates

from builder.config.model.device_plugin import DevicePlugin
from builder.emit.kmm.version import Flavour
from builder.emit.operator.model import make_operator
from builder.emit.operator.templates import make_templates
from builder.errors import UsageError


@pytest.mark.parametrize("flavour", list(Flavour))
def test_what_is_written_is_read_back(flavour: Flavour) -> None:
    facts = operator_facts(
        driver_facts(), driver_facts({"namespace": "far"}, name="second", plugin=False), flavour=flavour
    )
    config = next(item for item in make_operator(facts).workload if item["kind"] == "ConfigMap")
    (content,) = config["data"].values()
    found = read_templates(content.encode())
    assert (found.group, found.version, found.kind, found.plural) == (
        "drivers.example.com",
        "v1alpha1",
        "KernelDriver",
        "kerneldrivers",
    )
    assert (found.namespace, list(found.keys)) == ("kmod-operator", [PEM])
    said = json.loads(content)["drivers"]
    for name, namespace in (("drv", "drv"), ("second", "far")):
        driver = found.drivers[name]
        assert (driver.namespace, driver.module, list(driver.plugin), list(driver.rules)) == (
            namespace, said[name]["module"], said[name]["plugin"], said[name]["rules"],
        )  # fmt: skip
    assert (found.drivers["drv"].resource, found.drivers["second"].resource) == ("drivers.example.com/drv", "")


def _driver(facts: Any) -> dict[str, Any]:
    found: dict[str, Any] = make_templates(facts)["drivers"]["drv"]
    return found


def test_a_module_has_a_version_and_no_kernel() -> None:
    container = _driver(operator_facts())["module"]["spec"]["moduleLoader"]["container"]
    assert (container["version"], container["kernelMappings"]) == ("1.4.0", [])


def test_a_rule_names_no_kernels() -> None:
    """Which kernels have an image changes with the index, and these files do not."""
    (rule,) = _driver(operator_facts())["rules"]
    assert not [item for item in rule["spec"]["rules"] if "a kernel with an image" in item["name"]]


def test_no_object_gives_rights() -> None:
    for flavour in Flavour:
        driver = _driver(operator_facts(flavour=flavour))
        kinds = {item["kind"] for item in [driver["module"], *driver["plugin"], *driver["rules"]]}
        assert kinds == {"Module", "DaemonSet", "NodeFeatureRule"}


def test_what_gives_rights_is_an_administrator_s() -> None:
    def names(*, plugin: bool) -> set[tuple[str, str]]:
        facts = operator_facts(driver_facts(plugin=plugin), flavour=Flavour.OPENSHIFT)
        return {(item["kind"], item["metadata"]["name"]) for item in make_operator(facts).drivers}

    assert names(plugin=True) - names(plugin=False) == {
        ("ServiceAccount", "drv-plugin"), ("SecurityContextConstraints", "drv-drv-plugin"), ("Role", "drv-plugin"),
        ("RoleBinding", "drv-plugin"),
    }  # fmt: skip


def test_shared_devices_have_another_name() -> None:
    facts = driver_facts()
    assert facts.plugin is not None
    said = DevicePlugin(driver="drv", resource="drivers.example.com/drv", replicas=2)
    shared = facts.plugin.component.model_copy(update={"device_plugin": said})
    from dataclasses import replace

    several = replace(facts, plugin=replace(facts.plugin, component=shared))
    assert _driver(operator_facts(several))["resource"] == "drivers.example.com/drv.shared"


def test_a_version_that_no_label_takes_is_told() -> None:
    with pytest.raises(UsageError, match=r"version '1\.0\+x' of driver drv cannot be the value of a label"):
        make_templates(operator_facts(driver_facts(version="1.0+x")))


def test_a_module_that_kmm_would_refuse_is_told() -> None:
    with pytest.raises(UsageError, match="would refuse the Module of driver drv: metadata.name: name and namespace"):
        make_templates(operator_facts(driver_facts({"namespace": "n" * 39})))
