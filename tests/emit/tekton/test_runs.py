"""Runs: nodes, accounts, and times that admission takes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fakes.tekton_facts import EVERYTHING, tekton_facts

from builder.emit.tekton.pipelines import make_pipelines
from builder.emit.tekton.runs import make_run

_WORDS = ("build", "nightly", "release", "pull-request")
_FULL = tekton_facts(**EVERYTHING)


def _minutes(text: str) -> int:
    hours, minutes = re.fullmatch(r"(\d+)h(\d+)m0s", text).groups()  # type: ignore[union-attr]
    return int(hours) * 60 + int(minutes)


@pytest.mark.parametrize("word", _WORDS)
@pytest.mark.parametrize(
    "said", [{}, {"retries": 5}, {"minutes": {"plan": 1440, "shard": 10_080, "gate": 1440}}], ids=str
)
def test_times_of_a_run_hold_those_of_its_parts(word: str, said: dict[str, Any]) -> None:
    facts = tekton_facts(**said)
    times = {name: _minutes(text) for name, text in make_run(facts, word)["spec"]["timeouts"].items()}
    assert times["pipeline"] >= times["tasks"] + times["finally"]
    spec = make_pipelines(facts)[word]["spec"]
    tries = facts.settings.retries + 1
    assert times["tasks"] >= sum(
        _minutes(task["timeout"]) * (tries if "matrix" in task else 1) for task in spec["tasks"]
    )
    assert times["finally"] >= max([0, *(_minutes(task["timeout"]) for task in spec.get("finally", []))])


@pytest.mark.parametrize("word", _WORDS)
def test_no_pod_has_a_token(word: str) -> None:
    spec = make_run(_FULL, word)["spec"]
    templates = [spec["taskRunTemplate"]["podTemplate"], *(item["podTemplate"] for item in spec["taskRunSpecs"])]
    assert {template["automountServiceAccountToken"] for template in templates} == {False}


def test_shards_go_to_nodes_of_their_architecture_and_are_nobody_there() -> None:
    specs = {item["pipelineTaskName"]: item for item in make_run(_FULL, "build")["spec"]["taskRunSpecs"]}
    assert specs["shards-amd64"]["podTemplate"]["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert specs["shards-arm64"]["podTemplate"]["nodeSelector"] == {
        "kubernetes.io/arch": "arm64", "node-role.kubernetes.io/build": "",
    }  # fmt: skip
    assert {item["podTemplate"]["hostUsers"] for item in specs.values()} == {False}
    privileged = make_run(tekton_facts(isolation="privileged"), "build")["spec"]["taskRunSpecs"]
    assert "hostUsers" not in privileged[0]["podTemplate"]


def test_names_of_tasks_are_those_of_the_pipeline() -> None:
    """Admission does not look, and a name that fits nothing takes the node selector with it."""
    for said in ({}, EVERYTHING, {"isolation": "privileged"}):
        facts = tekton_facts(**said)
        for word, pipeline in make_pipelines(facts).items():
            tasks = {task["name"] for task in pipeline["spec"]["tasks"]}
            named = {item["pipelineTaskName"] for item in make_run(facts, word)["spec"].get("taskRunSpecs", [])}
            assert named <= tasks
            assert {task["name"] for task in pipeline["spec"]["tasks"] if "matrix" in task} <= named


def test_accounts_are_those_of_the_part() -> None:
    run = make_run(tekton_facts(), "nightly")["spec"]
    assert run["taskRunTemplate"]["serviceAccountName"] == "kmodsmith"
    assert [item["serviceAccountName"] for item in run["taskRunSpecs"]] == ["kmodsmith-shard"]
    assert (
        make_run(tekton_facts(), "pull-request")["spec"]["taskRunTemplate"]["serviceAccountName"]
        == "kmodsmith-untrusted"
    )
