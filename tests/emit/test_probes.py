"""A slow node gets its time to begin, and a pod that hangs later does not get it again."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from fakes.operator_facts import operator_facts
from fakes.plugin_facts import plugin_facts

from builder.emit.deviceplugin.files import emit_device_plugin
from builder.emit.kmm.version import Flavour
from builder.emit.operator.bundle import emit_bundle
from builder.emit.operator.chart import emit_chart
from builder.emit.operator.model import make_operator
from builder.emit.operator.plain import emit_plain
from builder.emit.probes import BEGINS_WITHIN_S, make_probes

_NAMES = ("startupProbe", "livenessProbe", "readinessProbe")
_FACTS = operator_facts()
_OBJECTS = make_operator(_FACTS)


def _longest_s(probe: dict[str, Any]) -> int:
    """Return for how long kubelet lets it fail."""
    longest: int = probe.get("initialDelaySeconds", 0) + probe["periodSeconds"] * probe.get("failureThreshold", 3)
    return longest


def test_a_beginning_may_take_longer_than_a_silence() -> None:
    probes = make_probes("status", ready_s=5)
    assert tuple(probes) == _NAMES
    assert _longest_s(probes["startupProbe"]) == BEGINS_WITHIN_S >= 4 * _longest_s(probes["livenessProbe"])
    # As long as it has not begun nobody asks whether it is alive, so nothing has to wait before that.
    assert "initialDelaySeconds" not in probes["livenessProbe"]


def test_both_ask_whether_it_is_alive_and_not_whether_it_is_ready() -> None:
    """A device plugin that kubelet does not take is not ready, and would be ended for it before it is asked."""
    asked = {name: probe["httpGet"]["path"] for name, probe in make_probes("status", ready_s=5).items()}
    assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def test_it_is_looked_at_more_often_while_it_begins() -> None:
    """The first look at readiness comes after it: what is between two looks is lost at each start."""
    probes = make_probes("status", ready_s=5)
    assert probes["startupProbe"]["periodSeconds"] < probes["readinessProbe"]["periodSeconds"] == 5


def _deployment(text: str) -> dict[str, Any]:
    (found,) = [item for item in yaml.safe_load_all(text) if item["kind"] == "Deployment"]
    return dict(found)


def _in_plain() -> dict[str, Any]:
    return _deployment(emit_plain(_OBJECTS)["40-operator.yaml"])


def _in_chart() -> dict[str, Any]:
    return _deployment(emit_chart(_FACTS, _OBJECTS)["templates/40-operator.yaml"])


def _in_bundle() -> dict[str, Any]:
    text = emit_bundle(_FACTS, _OBJECTS)["manifests/kmod-operator.clusterserviceversion.yaml"]
    (found,) = yaml.safe_load(text)["spec"]["install"]["spec"]["deployments"]
    return dict(found)


def _in_daemon_set() -> dict[str, Any]:
    return dict(yaml.safe_load(emit_device_plugin(plugin_facts(), Flavour.OPENSHIFT)["20-daemonset.yaml"]))


@pytest.mark.parametrize("read", [_in_plain, _in_chart, _in_bundle, _in_daemon_set])
def test_whatever_writes_a_pod_writes_all_three(read: Any) -> None:
    (container,) = read()["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    found = {name: container[name] for name in _NAMES}
    assert found == make_probes(port["name"], ready_s=found["readinessProbe"]["periodSeconds"])
