"""Dashboards: no panel that is always empty."""

from __future__ import annotations

import json
import re
from typing import Any

import promql_parser
import pytest
from fakes.metrics import exported_metrics, metrics_of
from fakes.operator_facts import operator_settings

from builder.emit.monitoring.alerts import MonitoringFacts
from builder.emit.monitoring.dashboards import make_console_dashboard, make_dashboard, make_panels

_FACTS = MonitoringFacts(settings=operator_settings(), namespaces=["drv"])


def _console() -> dict[str, Any]:
    (content,) = make_console_dashboard(_FACTS)["data"].values()
    found: dict[str, Any] = json.loads(content)
    return found


_GRAFANA = make_dashboard(_FACTS)["panels"]
_CONSOLE = [panel for row in _console()["rows"] for panel in row["panels"]]


@pytest.mark.parametrize("panel", [*_GRAFANA, *_CONSOLE], ids=lambda panel: f"{panel['type']} {panel['title']}")
def test_each_query_is_one_and_asks_for_numbers_that_real_code_has(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        query = target["expr"].replace("$driver", ".*")
        promql_parser.parse(query)
        assert metrics_of(query)
        assert metrics_of(query) <= exported_metrics()
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= set(re.findall(r"\w+", query))


def test_variables_are_used_and_the_used_ones_are_there() -> None:
    board = make_dashboard(_FACTS)
    known = {item["name"] for item in board["templating"]["list"]}
    text = json.dumps(board["panels"])
    assert set(re.findall(r"\$\{?(\w+)", text)) == known
    assert "$" not in json.dumps(_console()), "the console has none"
    (driver,) = [item for item in board["templating"]["list"] if item["type"] == "query"]
    assert metrics_of(re.sub(r"^label_values\((.*), \w+\)$", r"\1", driver["query"])) <= exported_metrics()


def test_both_show_the_same() -> None:
    assert [panel["title"] for panel in _GRAFANA] == [panel["title"] for panel in _CONSOLE]
    assert len({panel["title"] for panel in _GRAFANA}) == len(_GRAFANA)
    assert all(panel["description"] for panel in _GRAFANA)


def test_panels_do_not_lie_on_each_other() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in _GRAFANA]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in _GRAFANA}) == len(_GRAFANA)


def test_without_device_plugins_there_is_no_panel_of_them() -> None:
    titles = [panel.title for panel in make_panels(MonitoringFacts(settings=operator_settings()), chosen=False)]
    assert "Devices" not in titles


def test_the_console_finds_it() -> None:
    found = make_console_dashboard(_FACTS)
    assert found["metadata"]["namespace"] == "openshift-config-managed"
    assert found["metadata"]["labels"]["console.openshift.io/dashboard"] == "true"
    assert _console()["schemaVersion"] == 14
