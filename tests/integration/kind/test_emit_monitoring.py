"""What ``emit monitoring`` writes, before Prometheus' own promtool: each alert fires where it must, and is silent beside that."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.alert_cases import CASES, AlertCase
from fakes.operator_facts import operator_settings

from builder.emit.monitoring.alerts import MonitoringFacts, make_alerts, make_groups
from integration.kind.make import make
from integration.kind.recipe import PROMTOOL

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kind
_FACTS = MonitoringFacts(settings=operator_settings(), namespaces=["drv"])


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(make_groups(_FACTS)))
    return file


def test_prometheus_takes_the_rules(rules: Path) -> None:
    done = _promtool("check", "rules", "--lint=all", "--lint-fatal", str(rules))
    assert f"{len(make_alerts(_FACTS))} rules found" in done


def test_a_broken_rule_would_be_found(rules: Path) -> None:
    rules.write_text(rules.read_text().replace("max by", "maximum by", 1))
    with pytest.raises(subprocess.CalledProcessError):
        _promtool("check", "rules", str(rules))


@pytest.mark.parametrize("name", list(CASES))
def test_it_fires_where_it_must_and_is_silent_beside_that(rules: Path, name: str) -> None:
    case = CASES[name]
    _test(rules, name, case, case.fires, fires=True)
    _test(rules, name, case, case.silent, fires=False)


@pytest.mark.parametrize("name", list(CASES))
def test_a_test_that_expects_otherwise_fails(rules: Path, name: str) -> None:
    """Or promtool would have taken everything."""
    case = CASES[name]
    with pytest.raises(subprocess.CalledProcessError):
        _test(rules, name, case, case.fires, fires=False)
    with pytest.raises(subprocess.CalledProcessError):
        _test(rules, name, case, case.silent, fires=True)


def _test(rules: Path, name: str, case: AlertCase, series: Any, *, fires: bool) -> None:
    severity = next(alert.severity for alert in make_alerts(_FACTS) if alert.name == name)
    expected = [{"exp_labels": {"severity": severity, **case.labels}}] if fires else []
    test = {
        "interval": "1m",
        "input_series": [{"series": said, "values": values} for said, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{case.after_min}m", "alertname": name, "exp_alerts": expected}],
    }
    file = rules.with_name("tests.yaml")
    file.write_text(yaml.safe_dump({"rule_files": [rules.name], "evaluation_interval": "1m", "tests": [test]}))
    # Annotations are words for people: what fires is told by labels.
    bare = make_groups(_FACTS)
    for rule in bare["groups"][0]["rules"]:
        del rule["annotations"]
    rules.write_text(yaml.safe_dump(bare))
    _promtool("test", "rules", str(file))


def _promtool(*words: str) -> str:
    program = make([PROMTOOL])["promtool"]
    return subprocess.run([program, *words], check=True, capture_output=True, text=True).stdout
