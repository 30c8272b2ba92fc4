"""What people who run other vendors' driver operators complain of in public, and that it cannot happen here.

Each test is one complaint; what keeps it from happening is tested at length where it is made.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import promql_parser
import pytest
from fakes.alert_cases import CASES
from fakes.fleet import NAMES, NEW_KERNEL, OLD_KERNEL, RESOURCE, TEMPLATES, Fleet, image, make_fleet, make_index, want
from fakes.metrics import exported_metrics, metrics_of
from fakes.operator_facts import driver_facts, operator_facts, operator_settings
from kmod_operator.cluster.trimming import Trimmer
from kmod_operator.rollout.decision import NodeChange
from kmod_operator.rollout.explain import explain
from kmod_operator.rollout.mappings import read_mappings
from kmod_operator.rollout.names import MANAGER
from kmod_operator.rollout.spec import SpecError, read_spec
from kmod_operator.rollout.world import IndexState, Known, Pod

from builder.emit.kmm.version import Flavour
from builder.emit.monitoring.alerts import MonitoringFacts, make_alerts
from builder.emit.monitoring.dashboards import make_panels
from builder.emit.monitoring.files import make_service_monitor
from builder.emit.operator.access import make_cluster_rules, make_drain_rules, make_driver_rules, make_own_rules
from builder.emit.operator.model import make_operator
from builder.emit.operator.workload import make_service

_FACTS = MonitoringFacts(settings=operator_settings(), namespaces=["drv"])


def _installed(count: int = 3, **spec: Any) -> Fleet:
    fleet = make_fleet(count, **spec)
    fleet.settle(100)
    assert fleet.condition("Ready") == ("True", "AllReady")
    return fleet


def _objects(flavour: Flavour = Flavour.OPENSHIFT) -> list[dict[str, Any]]:
    made = make_operator(operator_facts(driver_facts(smoke=True), flavour=flavour))
    return [*made.all, *(item for role in made.optional for item in role.objects)]


def _rules() -> list[dict[str, Any]]:
    facts = operator_facts(driver_facts(smoke=True))
    return [
        *make_cluster_rules(facts), *make_own_rules(facts.settings), *make_driver_rules(facts.drivers), *make_drain_rules(),
    ]  # fmt: skip


def test_a_default_driver_that_does_not_fit_the_cluster() -> None:
    """There is none: people name a version, and one without an image for the kernels is told, and touches no node."""
    fleet = make_fleet(1)
    del fleet.item["spec"]["driver"]["version"]
    with pytest.raises(SpecError, match=r"spec\.driver\.version is absent"):
        read_spec(fleet.item, TEMPLATES.group)
    fleet = make_fleet(1, kernel="6.12.0-1.el10.x86_64")
    fleet.settle(10)
    assert fleet.condition("KernelsCovered") == ("False", "KernelNotCovered")
    assert NAMES.wanted_version not in fleet.nodes["n0"].labels


def test_nodes_that_say_for_ever_that_an_install_is_on_and_hooks_that_wait_for_it() -> None:
    """What is said comes of what is there: an object without nodes, devices or images is never on its way."""
    fleet = make_fleet(0)
    assert fleet.condition("Progressing") == ("False", "NoNodes")
    fleet = _installed(1)
    fleet.item["spec"]["devices"] = {"mode": "None"}
    fleet.settle(20)
    assert (fleet.condition("Ready")[0], fleet.condition("Progressing")[0]) == ("True", "False")
    assert not [item for item in _objects() if "helm.sh/hook" in str(item)]


def test_reboots_in_the_middle_of_something() -> None:
    """It has nothing to reboot a node with: a change of a node is labels, annotations and whether pods come to it."""
    fields = {field.name for field in dataclasses.fields(NodeChange)}
    assert fields == {"name", "labels", "annotations", "unschedulable", "version", "because"}
    privileged = [
        item for item in _objects() if item["kind"] in {"Deployment", "Pod"} and "'privileged': True" in str(item)
    ]
    assert privileged == []


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_progress_that_is_lost_when_the_operator_restarts(writes: int) -> None:
    fleet = _installed()
    want(fleet, "1.1.0")
    for _ in range(200):
        fleet.turn(writes=writes)  # each program is killed after a few writes
        fleet.kmm()
        fleet.wait(5)
    fleet.settle(100)
    assert fleet.condition("Ready") == ("True", "AllReady")
    assert set(fleet.loaded.values()) == {image("1.1.0", OLD_KERNEL)}


def test_ready_with_no_device() -> None:
    fleet = make_fleet(1)
    fleet.dead.add("1.0.0")
    for _ in range(20):
        fleet.turn()
        fleet.kmm()
        fleet.wait(5)
        assert fleet.condition("Ready")[0] == "False"


def test_files_of_nodes_that_somebody_else_manages() -> None:
    """It writes none, and no configuration of machines: what has folders of a node is the device plugin, and two."""
    for item in _objects():
        assert item["kind"] != "MachineConfig"
        assert (
            item["kind"] == "SecurityContextConstraints" or "hostPath" not in str(item) or item["kind"] == "ConfigMap"
        )
    written = [rule for rule in _rules() if "machineconfigs" in rule["resources"]]
    assert written == []


def test_a_service_monitor_that_finds_nothing_and_rights_that_are_missing_for_it() -> None:
    monitor, service = make_service_monitor(_FACTS.settings), make_service(_FACTS.settings)
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"]
    verbs = {verb for rule in _rules() if "podmonitors" in rule["resources"] for verb in rule["verbs"]}
    assert {"get", "list", "watch", "create", "patch", "delete"} <= verbs


def test_the_cluster_s_own_feature_discovery_that_is_edited() -> None:
    touched = {(group, kind) for rule in _rules() for group in rule["apiGroups"] for kind in rule["resources"]}
    assert [kind for group, kind in sorted(touched) if "nfd" in group] == ["nodefeaturerules"]
    (own,) = [
        rule for rule in _rules() if "nodefeaturerules" in rule["resources"] and not {"patch"}.isdisjoint(rule["verbs"])
    ]
    assert own["resourceNames"] == ["drv"]


def test_a_registry_and_a_table_of_kernels_that_customers_have_to_keep() -> None:
    """Which image is for which kernel comes of the vendor's index, and for kernels that come before they do."""
    fleet = _installed(1)
    index = make_index({"1.0.0": (OLD_KERNEL, NEW_KERNEL)}, z1=(OLD_KERNEL,), z2=(NEW_KERNEL,))
    fleet.index = IndexState(index=index, digest="sha256:2", signer="k")
    fleet.settle(10)
    assert read_mappings(fleet.module) == {kernel: image("1.0.0", kernel) for kernel in (OLD_KERNEL, NEW_KERNEL)}


def test_nodes_that_wait_for_weeks_and_no_reason_is_shown() -> None:
    fleet = _installed(3)
    fleet.item["spec"]["rollout"] = {"maxUnavailable": 1}  # nobody drains
    want(fleet, "1.1.0")
    fleet.settle(5)
    status, reason = fleet.condition("Progressing")
    assert (status, reason) == ("False", "WaitsForCordon")
    for name in fleet.nodes:
        told = explain(name, fleet.item, TEMPLATES, fleet.world())
        assert told.state == "Waiting"
        assert "when an administrator cordons it" in " ".join(told.sentences)
    assert "KmodNodesWithoutDriver" in CASES


def test_ready_though_devices_of_some_nodes_do_not_work() -> None:
    fleet = make_fleet(2)
    fleet.smokes = {}
    fleet.bad.add("1.0.0")
    fleet.settle(60)
    assert fleet.devices("n0") == 3
    assert fleet.condition("Ready") == ("False", "StepFailed")


def test_one_node_that_is_down_stops_all_upgrades() -> None:
    fleet = _installed(4, rollout={"maxUnavailable": 2, "drain": {"enabled": True}})
    fleet.change("n1", ready=Known.NO)
    want(fleet, "1.1.0")
    fleet.settle(100)
    there = {name: node.labels[NAMES.ready_version] for name, node in fleet.nodes.items()}
    assert there == {"n0": "1.1.0", "n1": "1.0.0", "n2": "1.1.0", "n3": "1.1.0"}


def test_a_driver_that_goes_from_under_those_who_use_it() -> None:
    fleet = _installed(1)
    fleet.pods["p"] = Pod(namespace="w", name="p", uid="p", node="n0", resources={RESOURCE: 1})
    fleet.sticky.add("p")
    want(fleet, "1.1.0")
    for _ in range(100):
        fleet.turn()
        fleet.kmm()
        fleet.wait(5)
        assert fleet.loaded["n0"] == image("1.0.0", OLD_KERNEL)


def test_a_label_of_before_the_reboot_that_chooses_the_wrong_image() -> None:
    """Which kernel a node runs is what kubelet says, whatever labels say of it."""
    labels = {f"feature.node.kubernetes.io/kernel-version.{part}": "4.18.0-old" for part in ("full", "major")}
    labels |= {"feature.node.kubernetes.io/system-os_release.OSTREE_VERSION": "old"}
    item = {"metadata": {"name": "n0", "labels": labels}, "status": {"nodeInfo": {"kernelVersion": NEW_KERNEL}}}
    node = Trimmer("drivers.example.com", MANAGER).node(item)
    assert node.kernel == NEW_KERNEL
    fleet = _installed(1)
    fleet.label("n0", **labels)
    fleet.reboot("n0", NEW_KERNEL)
    fleet.settle(20)
    assert fleet.loaded["n0"] == image("1.0.0", NEW_KERNEL)


def test_rights_to_everything_and_drains_that_nobody_knows_of() -> None:
    for rule in _rules():
        assert "*" not in str(rule)
        assert not {"roles", "clusterroles", "secrets"} & {*rule["resources"]} or rule.get("resourceNames")
    made = make_operator(operator_facts(driver_facts()))
    assert [role.name for role in made.optional] == ["drain", "hold-pools"]
    assert not [item for item in made.all if "pods/eviction" in str(item)]
    fleet = _installed(1)
    fleet.rights["drain"] = Known.NO
    want(fleet, "1.1.0")
    fleet.settle(10)
    assert (fleet.nodes["n0"].unschedulable, fleet.condition("Progressing")[1]) == (False, "MayNotDrain")


def test_alerts_that_call_though_all_is_well_and_dashboards_that_are_empty() -> None:
    """Each alert is tried by promtool with numbers with which it must be silent; each panel asks for what is served."""
    for alert in make_alerts(_FACTS):
        assert CASES[alert.name].silent
        assert metrics_of(alert.expr) - {"up"} <= exported_metrics()
    for panel in make_panels(_FACTS, chosen=False):
        for query in panel.queries.values():
            promql_parser.parse(query)
            assert metrics_of(query) <= exported_metrics()
