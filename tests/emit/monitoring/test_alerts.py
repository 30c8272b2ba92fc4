"""Alerts: each says what to do, and is told of at length; promtool tries them in tests/integration/kind."""

from __future__ import annotations

import re
from pathlib import Path

import promql_parser
import pytest
from fakes.alert_cases import CASES
from fakes.metrics import exported_metrics, metrics_of
from fakes.operator_facts import operator_settings

from builder.emit.monitoring.alerts import Alert, MonitoringFacts, make_alerts, make_groups, make_rule

_PAGE = Path(__file__).parents[3] / "docs" / "operator-files.md"
_FACTS = MonitoringFacts(settings=operator_settings(), namespaces=["drv"])
_ALERTS = make_alerts(_FACTS)
# Prometheus' own: whether a target answered.
_NOT_OURS = {"up"}


def test_every_alert_has_a_case_for_promtool() -> None:
    assert [alert.name for alert in _ALERTS] == list(dict.fromkeys(alert.name for alert in _ALERTS))
    assert CASES.keys() == {alert.name for alert in _ALERTS}


@pytest.mark.parametrize("alert", _ALERTS, ids=lambda alert: alert.name)
def test_it_asks_for_numbers_that_real_code_has(alert: Alert) -> None:
    promql_parser.parse(alert.expr)
    assert metrics_of(alert.expr)
    assert metrics_of(alert.expr) - _NOT_OURS <= exported_metrics()


def test_a_query_that_is_none_is_not_parsed() -> None:
    with pytest.raises(ValueError, match="."):
        promql_parser.parse("max by (driver (x) > 0")


@pytest.mark.parametrize("alert", _ALERTS, ids=lambda alert: alert.name)
def test_it_names_labels_that_are_left(alert: Alert) -> None:
    """A label that was summed away is an empty word in a sentence."""
    named = set(re.findall(r"\$labels\.(\w+)", alert.description))
    kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", alert.expr))))
    assert named <= kept
    assert "{{" not in alert.summary
    assert alert.summary.endswith(".")


@pytest.mark.parametrize("alert", _ALERTS, ids=lambda alert: alert.name)
def test_its_runbook_is_there(alert: Alert) -> None:
    (rule,) = [item for item in make_groups(_FACTS)["groups"][0]["rules"] if item["alert"] == alert.name]
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "https://example.com/operator.md"
    headings = re.findall(r"^### (\w+)\n\n\w", _PAGE.read_text(), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}


def test_no_runbook_is_of_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"^### (Kmod\w+)$", _PAGE.read_text(), re.MULTILINE)) == {alert.name for alert in _ALERTS}


def test_only_an_unsafe_update_stops_updates() -> None:
    """'oc adm upgrade recommend' lists alerts that have the label, or are critical."""
    marked = [alert.name for alert in _ALERTS if "openShiftUpdatePrecheck" in alert.labels]
    assert marked == ["KmodUpdateNotSafe"]
    assert next(alert for alert in _ALERTS if alert.name == marked[0]).labels == {"openShiftUpdatePrecheck": "true"}
    assert {alert.severity for alert in _ALERTS} == {"warning"}


@pytest.mark.parametrize("alert", _ALERTS, ids=lambda alert: alert.name)
def test_another_vendor_s_numbers_are_no_alarm_of_ours(alert: Alert) -> None:
    selectors = re.findall(r"\w+\{([^}]*)\}", alert.expr)
    assert selectors
    assert all(selector.startswith(("namespace=", "namespace=~")) for selector in selectors)


def test_without_device_plugins_there_is_no_alert_of_them() -> None:
    names = [alert.name for alert in make_alerts(MonitoringFacts(settings=operator_settings()))]
    assert not [name for name in names if "Device" in name or "Plugin" in name]


def test_the_rule_is_in_the_operator_s_namespace() -> None:
    rule = make_rule(MonitoringFacts(settings=operator_settings(namespace="far")))
    assert (rule["kind"], rule["metadata"]["namespace"]) == ("PrometheusRule", "far")
    assert 'namespace="far"' in rule["spec"]["groups"][0]["rules"][0]["expr"]
