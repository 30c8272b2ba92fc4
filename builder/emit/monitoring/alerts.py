"""When Prometheus calls: each alert with what is so, what to do, and where that is told at length. Pure.

Numbers of the operator have its namespace, those of device plugins that of their driver: another vendor's operator in
the same cluster has the same names, and alerts of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from builder.emit.operator.naming import new_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.config.model.operator import OperatorSettings

PRECHECK = {"openShiftUpdatePrecheck": "true"}
"""'oc adm upgrade recommend' lists alerts that have it, and the cluster version operator makes risks of them."""
_STUCK_S = 3600
_OLD_S = 35 * 86_400
_MANY_RESTARTS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringFacts:
    """What rules and dashboards are made of: ``namespaces`` are those of the drivers that have a device plugin."""

    settings: OperatorSettings
    namespaces: Sequence[str] = ()

    @property
    def operator(self) -> str:
        """Matcher of the operator's numbers."""
        return f'namespace="{self.settings.namespace_name}"'

    @property
    def plugins(self) -> str:
        """Matcher of the device plugins' numbers."""
        return f'namespace=~"{"|".join(sorted(self.namespaces))}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert.

    Attributes:
        expr: fires where it has a value.
        lasting: for how long it must, as Prometheus writes times.
        summary: one line, without values.
        description: what is so with which values, and what to do.
    """

    name: str
    expr: str
    lasting: str
    summary: str
    description: str
    severity: str = "warning"
    labels: Mapping[str, str] = field(default_factory=dict)


def make_alerts(facts: MonitoringFacts) -> list[Alert]:
    """Return all alerts."""
    return [*_of_updates(facts.operator), *_of_nodes(facts.operator), *_of_operator(facts)] + (
        _of_plugins(facts.plugins) if facts.namespaces else []
    )


def _of_updates(ours: str) -> list[Alert]:
    return [
        Alert(
            name="KmodUpdateNotSafe",
            expr=f"max by (driver, release) (kmod_update_target_covered{{{ours}}}) == 0",
            lasting="5m",
            summary="An offered release has a kernel without a driver image.",
            description="Release {{ $labels.release }} brings a kernel for which driver {{ $labels.driver }} has no "
            "image: nodes that are updated to it would be without the driver. Do not update to it yet, and ask the "
            "vendor for the image.",
            labels=PRECHECK,
        ),
        Alert(
            name="KmodKernelNotCovered",
            expr=f"max by (driver, kernel) (kmod_kernel_covered{{{ours}}}) == 0",
            lasting="15m",
            summary="Nodes run a kernel without a driver image.",
            description="Nodes run kernel {{ $labels.kernel }}, for which driver {{ $labels.driver }} has no image. "
            "Ask the vendor for it, or boot those nodes into a kernel that has one.",
        ),
        Alert(
            name="KmodPoolsHeld",
            expr=f"max by (driver) (kmod_pools_held{{{ours}}}) > 0",
            lasting="1d",
            summary="Pools of machines have been paused for a day.",
            description="{{ $value }} pools of machines wait for driver {{ $labels.driver }}: paused ones get no new "
            "certificates. Events of the object say what each waits for.",
        ),
        Alert(
            name="KmodIndexNotTrusted",
            expr=f"count by (driver) (kmod_driver_nodes{{{ours}}}) unless on (driver) kmod_index_info{{{ours}}}",
            lasting="15m",
            summary="No index is believed, so nothing is brought onto nodes.",
            description="Driver {{ $labels.driver }} has no index that is signed by the vendor. The condition "
            "IndexTrusted of its object says why.",
        ),
        Alert(
            name="KmodIndexOld",
            expr=f"time() - max by (driver) (kmod_index_made_seconds{{{ours}}}) > {_OLD_S}",
            lasting="1h",
            summary="The index was made more than 35 days ago.",
            description="The index of driver {{ $labels.driver }} is {{ $value | humanizeDuration }} old: kernels that "
            "came since are in none. Bring a newer one, or look why it is not read.",
        ),
    ]


def _of_nodes(ours: str) -> list[Alert]:
    return [
        Alert(
            name="KmodNodesFailed",
            expr=f'max by (driver) (kmod_driver_nodes{{{ours}, state="failed"}}) > 0',
            lasting="5m",
            summary="Nodes did not get through a step of an upgrade.",
            description="{{ $value }} nodes of driver {{ $labels.driver }} failed, and use up the budget of its "
            "upgrade. 'explain NODE' of the operator's image says why.",
        ),
        Alert(
            name="KmodNodesWithoutDriver",
            expr=f'sum by (driver) (max by (driver, state) (kmod_driver_nodes{{{ours}, state!="ready"}})) > 0',
            lasting="6h",
            summary="Nodes have been without the wanted driver for hours.",
            description="{{ $value }} selected nodes do not have driver {{ $labels.driver }} in the wanted version. "
            "Its object counts them by reason, and 'explain NODE' of the operator's image tells of one.",
        ),
        Alert(
            name="KmodUpgradeStuck",
            expr=f"max by (driver) (kmod_upgrade_stuck_seconds{{{ours}}}) > {_STUCK_S}",
            lasting="10m",
            summary="A node has been in one step of an upgrade for more than an hour.",
            description="A node of driver {{ $labels.driver }} has been in one step for "
            "{{ $value | humanizeDuration }}. Events of the object name it; often a pod cannot be evicted.",
        ),
    ]


def _of_operator(facts: MonitoringFacts) -> list[Alert]:
    ours, job = facts.operator, f"{facts.settings.name}-metrics"
    failed, done = (
        f'sum by (namespace) (increase(kmod_reconcile_total{{{ours}, result="{result}"}}[30m]))'
        for result in ("failed", "done")
    )
    return [
        Alert(
            name="KmodOperatorDown",
            expr=f'absent(up{{{ours}, job="{job}"}} == 1)',
            lasting="15m",
            summary="The operator does not run, or Prometheus does not reach it.",
            description="No pod of the operator has answered Prometheus. Drivers stay as they are; new kernels and "
            "versions get nothing.",
            # What is absent has no labels, and alerts are sent to people by this one.
            labels={"namespace": facts.settings.namespace_name},
        ),
        Alert(
            name="KmodReconcileFails",
            expr=f"({failed} > 0) unless ({done} > 0)",
            lasting="15m",
            summary="The operator gets nothing done.",
            description="Each of the operator's passes of the last half hour failed. Its log says what the API server "
            "answered; often a right is missing.",
        ),
        Alert(
            name="KmodWatchesRestart",
            expr=f"sum by (kind) (increase(kmod_watch_restarts_total{{{ours}}}[1h])) > {_MANY_RESTARTS}",
            lasting="15m",
            summary="The operator hears of changes late.",
            description="The watch of {{ $labels.kind }} began anew {{ $value | humanize }} times in an hour: "
            "something between the operator and the API server cuts it.",
        ),
    ]


def _of_plugins(theirs: str) -> list[Alert]:
    registered = f"sum by (namespace, pod) (increase(kmod_device_plugin_registrations_total{{{theirs}"
    return [
        Alert(
            name="KmodDeviceUnhealthy",
            expr=f'max by (namespace, pod) (kmod_device_plugin_devices{{{theirs}, health="unhealthy"}}) > 0',
            lasting="10m",
            summary="Devices of a node are not well.",
            description="{{ $value }} devices that pod {{ $labels.namespace }}/{{ $labels.pod }} tells of are not "
            "well, and no pod gets them. Its log says why of each.",
        ),
        Alert(
            name="KmodPluginNotRegistered",
            expr=f'({registered}, result="failed"}}[30m])) > 0) unless ({registered}, result="taken"}}[30m])) > 0)',
            lasting="15m",
            summary="Kubelet does not take a device plugin.",
            description="Kubelet refused pod {{ $labels.namespace }}/{{ $labels.pod }}, or did not answer it: the "
            "node's devices cannot be had. The pod's log has kubelet's words.",
        ),
    ]


def make_groups(facts: MonitoringFacts) -> dict[str, Any]:
    """Return rules as Prometheus reads them from a file."""
    settings = facts.settings
    rules = [
        {
            "alert": alert.name,
            "expr": alert.expr,
            "for": alert.lasting,
            "labels": {"severity": alert.severity, **alert.labels},
            "annotations": {
                "summary": alert.summary,
                "description": alert.description,
                "runbook_url": f"{settings.documentation}#{alert.name.lower()}",
            },
        }
        for alert in make_alerts(facts)
    ]
    return {"groups": [{"name": settings.name, "rules": rules}]}


def make_rule(facts: MonitoringFacts) -> dict[str, Any]:
    """Return the PrometheusRule."""
    found = new_object("monitoring.coreos.com/v1", "PrometheusRule", facts.settings.name, facts.settings)
    return found | {"spec": make_groups(facts)}
