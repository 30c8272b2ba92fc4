"""Files of monitoring. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.monitoring.alerts import MonitoringFacts, make_rule
from builder.emit.monitoring.dashboards import make_console_dashboard, make_dashboard
from builder.emit.operator.material import choose_drivers
from builder.emit.operator.naming import name_labels, new_object
from builder.emit.operator.workload import STATUS_PORT_NAME
from builder.writing import emit_json, emit_yaml

if TYPE_CHECKING:
    from builder.config.model.config import Config
    from builder.config.model.operator import OperatorSettings


def make_monitoring_facts(config: Config, settings: OperatorSettings) -> MonitoringFacts:
    """Return what versions.yaml says that numbers are told apart by."""
    plugins = {item.device_plugin.driver for item in config.components if item.device_plugin}
    brought = [driver for driver in choose_drivers(config, settings) if driver.name in plugins]
    return MonitoringFacts(settings=settings, namespaces=sorted({item.kmm.namespace or item.name for item in brought}))


def emit_monitoring_files(facts: MonitoringFacts, *, is_openshift: bool) -> dict[str, str]:
    """Return files by name; equal facts give equal files."""
    files = {
        "servicemonitor.yaml": emit_yaml(make_service_monitor(facts.settings)),
        "prometheusrule.yaml": emit_yaml(make_rule(facts)),
        "grafana-dashboard.json": emit_json(make_dashboard(facts)),
    }
    if is_openshift:
        files["console-dashboard.yaml"] = emit_yaml(make_console_dashboard(facts))
    return files


def make_service_monitor(settings: OperatorSettings) -> dict[str, Any]:
    """Return how Prometheus finds the operator; device plugins have a PodMonitor that the operator makes."""
    return new_object("monitoring.coreos.com/v1", "ServiceMonitor", settings.name, settings) | {
        "spec": {
            "selector": {"matchLabels": name_labels(settings)},
            "endpoints": [{"port": STATUS_PORT_NAME, "interval": "30s"}],
        }
    }
