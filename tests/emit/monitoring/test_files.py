"""Files of monitoring."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.kmm_facts import kmm_facts
from fakes.operator_facts import component, operator_settings

from builder.config.model.device_plugin import DevicePlugin
from builder.emit.artefact import Order
from builder.emit.monitoring.alerts import MonitoringFacts
from builder.emit.monitoring.artefact import ARTEFACT
from builder.emit.monitoring.files import emit_monitoring_files, make_monitoring_facts, make_service_monitor
from builder.emit.operator.workload import make_service
from builder.errors import UsageError
from builder.host.progress import no_progress
from builder.plan.matrix import Selector
from builder.plan.project import open_project

if TYPE_CHECKING:
    from pathlib import Path


def _config(*names: str, kmm: dict[str, Any] | None = None, **driver: Any) -> Any:
    plugins = [component(name, device_plugin=DevicePlugin(driver=name, resource=f"a.example/{name}")) for name in names]
    drivers = [kmm_facts(kmm, name=name, **driver).driver for name in ("drv", "second")]
    return SimpleNamespace(components=(component("operator"), *plugins), drivers=tuple(drivers))


def test_namespaces_are_those_of_drivers_with_a_plugin() -> None:
    settings = operator_settings()
    assert make_monitoring_facts(_config("drv"), settings).namespaces == ["drv"]
    assert make_monitoring_facts(_config(), settings).namespaces == []
    assert make_monitoring_facts(_config("drv", "second", kmm={"namespace": "far"}), settings).namespaces == ["far"]


def test_drivers_that_the_operator_does_not_bring_are_passed_over() -> None:
    config = _config("drv", "second")
    assert make_monitoring_facts(config, operator_settings(drivers=("second",))).namespaces == ["second"]
    assert make_monitoring_facts(_config("drv", "second", image=None), operator_settings()).namespaces == []


def test_prometheus_looks_at_the_service_that_there_is() -> None:
    settings = operator_settings(name="gpu")
    monitor, service = make_service_monitor(settings)["spec"], make_service(settings)
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_the_console_is_openshift_s() -> None:
    facts = MonitoringFacts(settings=operator_settings())
    names = ["servicemonitor.yaml", "prometheusrule.yaml", "grafana-dashboard.json"]
    assert list(emit_monitoring_files(facts, is_openshift=False)) == names
    files = emit_monitoring_files(facts, is_openshift=True)
    assert list(files) == [*names, "console-dashboard.yaml"]
    kinds = [yaml.safe_load(text)["kind"] for name, text in files.items() if name.endswith(".yaml")]
    assert kinds == ["ServiceMonitor", "PrometheusRule", "ConfigMap"]


def test_equal_facts_give_equal_files() -> None:
    facts = MonitoringFacts(settings=operator_settings(), namespaces=["b", "a"])
    again = MonitoringFacts(settings=operator_settings(), namespaces=["a", "b"])
    assert emit_monitoring_files(facts, is_openshift=True) == emit_monitoring_files(again, is_openshift=True)


def test_without_an_operator_there_is_nothing_to_observe(project_dir: Path) -> None:
    order = Order(
        project=open_project(project_dir), selector=Selector(), progress=no_progress, options={"flavour": "upstream"}
    )
    with pytest.raises(UsageError, match="versions.yaml has no operator"):
        ARTEFACT.emit(order)
