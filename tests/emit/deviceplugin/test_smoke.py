"""The pod that tries a device: it asks for one, and for nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from fakes.operator_facts import component, driver_facts

from builder.config.model.device_plugin import DevicePlugin, SmokeTest
from builder.emit.deviceplugin.files import PluginFacts, make_daemon_set
from builder.emit.deviceplugin.smoke import make_smoke_pod


def _facts(test: SmokeTest | None, **plugin: Any) -> PluginFacts:
    facts = driver_facts({"pull_secret": "pull"}).plugin
    assert facts is not None
    said = DevicePlugin(driver=facts.driver.name, resource="drivers.example.com/drv", smoke_test=test, **plugin)
    return dataclasses.replace(facts, component=component("plugin", device_plugin=said))


def test_without_a_test_there_is_no_pod() -> None:
    assert make_smoke_pod(_facts(None)) is None


def test_it_asks_for_one_device_and_ends_by_itself() -> None:
    facts = _facts(SmokeTest())
    pod = make_smoke_pod(facts)
    assert pod is not None
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "96Mi", "drivers.example.com/drv": "1"}
    assert (container["args"], container["image"]) == (["try-devices"], facts.image)
    spec = pod["spec"]
    assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 60)
    assert pod["metadata"]["namespace"] == facts.namespace
    assert spec["imagePullSecrets"] == [{"name": "pull"}]


def test_it_has_no_more_than_the_plugin_has() -> None:
    """On OpenShift it runs under the plugin's own constraint, which takes what asks for more."""
    facts = _facts(SmokeTest())
    pod, plugin = make_smoke_pod(facts), make_daemon_set(facts)["spec"]["template"]["spec"]
    assert pod is not None
    for name in ("serviceAccountName", "securityContext"):
        assert pod["spec"][name] == plugin[name]
    assert pod["spec"]["containers"][0]["securityContext"] == plugin["containers"][0]["securityContext"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert "volumes" not in pod["spec"]


@pytest.mark.parametrize("replicas", [1, 4])
def test_a_shared_device_is_asked_for_as_such(replicas: int) -> None:
    pod = make_smoke_pod(_facts(SmokeTest(), replicas=replicas))
    assert pod is not None
    name = "drivers.example.com/drv" + (".shared" if replicas > 1 else "")
    assert pod["spec"]["containers"][0]["resources"]["limits"][name] == "1"


def test_a_command_of_the_vendor_s_takes_the_place_of_ours() -> None:
    pod = make_smoke_pod(_facts(SmokeTest(command=("vendor-smi", "-L"), timeout=300), source="a.b:C"))
    assert pod is not None
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["vendor-smi", "-L"]
    assert "args" not in container
    assert container["env"] == [{"name": "KMOD_SOURCE", "value": "a.b:C"}]
    assert pod["spec"]["activeDeadlineSeconds"] == 300
