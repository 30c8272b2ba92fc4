"""What people see of the drivers of a cluster: panels for Grafana, and for OpenShift's console. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.writing import emit_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.emit.monitoring.alerts import MonitoringFacts

VARIABLE = "driver"
_CONSOLE_NAMESPACE = "openshift-config-managed"
_HEIGHT, _WIDTH = 8, 12
_GRAFANA_SCHEMA, _CONSOLE_SCHEMA = 39, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A picture.

    Attributes:
        queries: by the words of their lines; ``{{label}}`` in these is a label's value.
        unit: Grafana's word.
        stacked: whether the lines are parts of a whole.
    """

    title: str
    description: str
    queries: Mapping[str, str]
    unit: str = "short"
    stacked: bool = False


def make_panels(facts: MonitoringFacts, *, chosen: bool) -> list[Panel]:
    """Return all panels.

    Args:
        facts: whose numbers.
        chosen: people choose a driver, by a variable.
    """
    ours = facts.operator
    driver = f'{ours}, driver=~"${VARIABLE}"' if chosen else ours
    return [*_of_drivers(driver), *_of_operator(ours)] + (_of_plugins(facts.plugins) if facts.namespaces else [])


def _of_drivers(ours: str) -> list[Panel]:
    by_kernel = f"max by (driver, kernel) (kmod_kernel_covered{{{ours}}})"
    by_release = f"max by (driver, release) (kmod_update_target_covered{{{ours}}})"
    return [
        Panel(
            title="Nodes",
            description="Selected nodes by where they are.",
            queries={"{{driver}} {{state}}": f"max by (driver, state) (kmod_driver_nodes{{{ours}}})"},
            stacked=True,
        ),
        Panel(
            title="Nodes in an upgrade",
            description="Nodes by the step that they are in.",
            queries={"{{driver}} {{phase}}": f"max by (driver, phase) (kmod_upgrade_nodes{{{ours}}})"},
            stacked=True,
        ),
        Panel(
            title="Kernels with an image",
            description="1: nodes with this kernel get the driver. 0: they do not.",
            queries={"{{driver}} {{kernel}}": by_kernel},
        ),
        Panel(
            title="Releases that are offered",
            description="1: all of its kernels have an image. 0: do not update to it yet. Absent: not known.",
            queries={"{{driver}} {{release}}": by_release},
        ),
        Panel(
            title="Age of the index",
            description="For how long nothing new has come from the vendor.",
            queries={"{{driver}}": f"time() - max by (driver) (kmod_index_made_seconds{{{ours}}})"},
            unit="s",
        ),
        Panel(
            title="Slowest node",
            description="How long the slowest node has been in its step.",
            queries={"{{driver}}": f"max by (driver) (kmod_upgrade_stuck_seconds{{{ours}}})"},
            unit="s",
        ),
    ]


def _of_operator(ours: str) -> list[Panel]:
    buckets = f"sum by (le) (rate(kmod_reconcile_seconds_bucket{{{ours}}}[5m]))"
    return [
        Panel(
            title="Passes of the operator",
            description="How many a second, by how they ended.",
            queries={"{{result}}": f"sum by (result) (rate(kmod_reconcile_total{{{ours}}}[5m]))"},
            unit="ops",
        ),
        Panel(
            title="Time of a pass",
            description="What 99 of 100 passes take at most.",
            queries={"99 %": f"histogram_quantile(0.99, {buckets})"},
            unit="s",
        ),
        Panel(
            title="Watches that began anew",
            description="By kind, in an hour.",
            queries={"{{kind}}": f"sum by (kind) (increase(kmod_watch_restarts_total{{{ours}}}[1h]))"},
        ),
    ]


def _of_plugins(theirs: str) -> list[Panel]:
    allocations = f"sum by (namespace, result) (rate(kmod_device_plugin_allocations_total{{{theirs}}}[5m]))"
    return [
        Panel(
            title="Devices",
            description="Devices of all nodes by health.",
            queries={
                "{{namespace}} {{health}}": f"sum by (namespace, health) (kmod_device_plugin_devices{{{theirs}}})"
            },
            stacked=True,
        ),
        Panel(
            title="Containers that asked for devices",
            description="How many a second, and whether they were given one.",
            queries={"{{namespace}} {{result}}": allocations},
            unit="ops",
        ),
    ]


def make_dashboard(facts: MonitoringFacts) -> dict[str, Any]:
    """Return the dashboard as Grafana imports it; the source of data is asked for then."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    panels = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": panel.title,
            "description": panel.description,
            "datasource": source,
            "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": number % 2 * _WIDTH, "y": number // 2 * _HEIGHT},
            "fieldConfig": {
                "defaults": {
                    "unit": panel.unit,
                    "min": 0,
                    "custom": {"stacking": {"mode": "normal" if panel.stacked else "none"}, "fillOpacity": 10},
                },
                "overrides": [],
            },
            "targets": [{**target, "datasource": source} for target in _targets(panel)],
        }
        for number, panel in enumerate(make_panels(facts, chosen=True))
    ]
    query = f"label_values(kmod_driver_nodes{{{facts.operator}}}, {VARIABLE})"
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {
            "name": VARIABLE, "type": "query", "label": "Driver", "datasource": source, "query": query, "refresh": 2,
            "includeAll": True, "multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
        },
    ]  # fmt: skip
    return {
        "uid": facts.settings.name,
        "title": _title(facts),
        "tags": ["kernel", "drivers"],
        "schemaVersion": _GRAFANA_SCHEMA,
        "editable": True,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": variables},
        "panels": panels,
    }


def make_console_dashboard(facts: MonitoringFacts) -> dict[str, Any]:
    """Return the ConfigMap of which OpenShift's console makes a dashboard (Observe, Dashboards)."""
    panels = [
        {
            "id": number + 1,
            "type": "graph",
            "title": panel.title,
            "description": panel.description,
            "span": _WIDTH // 2,
            "stack": panel.stacked,
            "datasource": "prometheus",
            "targets": _targets(panel),
            "yaxes": [{"format": panel.unit, "min": 0, "show": True}, {"format": "short", "show": False}],
        }
        for number, panel in enumerate(make_panels(facts, chosen=False))
    ]
    content = {
        "title": _title(facts),
        "uid": facts.settings.name,
        "schemaVersion": _CONSOLE_SCHEMA,
        "editable": False,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": []},
        "rows": [{"title": "", "panels": panels[first : first + 2]} for first in range(0, len(panels), 2)],
    }
    name = facts.settings.name
    labels = {"app.kubernetes.io/name": name, "console.openshift.io/dashboard": "true"}
    metadata = {"name": f"dashboard-{name}", "namespace": _CONSOLE_NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {f"{name}.json": emit_json(content)}}


def _title(facts: MonitoringFacts) -> str:
    return f"Kernel drivers ({facts.settings.name})"


def _targets(panel: Panel) -> Sequence[dict[str, Any]]:
    return [
        {"expr": query, "legendFormat": words, "refId": chr(ord("A") + number)}
        for number, (words, query) in enumerate(panel.queries.items())
    ]
