"""Runs and tasks as Tekton tells them, and as it would not."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.pipeline_runs import describe_run, describe_task

from builder.errors import FormatError
from builder.shards.pipeline_run import parse_run, selector_of

_PLAN = f"oci:quay.test/plans@sha256:{'a' * 64}"


def test_a_run_with_its_plan_and_shards() -> None:
    tasks = [
        describe_task("plan", "True", results={"PLAN_ARTIFACT": _PLAN}),
        describe_task("shards-amd64", shard="1", retries=1, reason="Running"),
        describe_task("shards-amd64", "True", shard="0", reason="Succeeded"),
    ]
    found = parse_run(describe_run(), {"items": tasks})
    assert (found.ended, found.reason, found.plan) == (None, "Running", _PLAN)
    second = found.shard(1)
    assert second is not None
    assert (second.ended, second.told) == (None, "Running, 1 lost before")
    assert found.shard(2) is None
    assert found.failed == []


def test_a_run_that_ended_has_its_plan_also_without_its_tasks() -> None:
    run = describe_run("True", "Succeeded")
    run["status"]["results"] = [{"name": "PLAN_ARTIFACT", "value": _PLAN}]
    found = parse_run(run, {"items": []})
    assert found.plan == _PLAN
    assert not found.plans_nothing


def test_a_pipeline_that_only_checks_plans_nothing() -> None:
    assert parse_run(describe_run(), {"items": [describe_task("lint")]}).plans_nothing
    assert not parse_run(describe_run(), {"items": [describe_task("lint"), describe_task("gate")]}).plans_nothing
    assert not parse_run(describe_run(), {"items": []}).plans_nothing, "it has not begun, or was pruned"


def test_how_a_task_failed() -> None:
    task = describe_task("plan", "False", reason="Failed", message="step plan exited with 3", step=3)
    found = parse_run(describe_run("False", "Failed"), {"items": [task]})
    assert found.ended is False
    (failed,) = found.failed
    assert failed.failed_step == ("step-plan", 3)
    assert (failed.pod, failed.shard) == ("r-plan-pod", None)


def test_a_run_that_has_only_been_created() -> None:
    found = parse_run({"metadata": {"name": "r"}}, {"items": [{"metadata": {"name": "t"}}]})
    assert (found.ended, found.plan, found.tasks[0].told) == (None, "", "not begun")


@pytest.mark.parametrize("shard", ["-1", "x", "99999", "1e3", "²", ["0"], None, 7])
def test_what_is_no_number_of_a_shard_is_none(shard: Any) -> None:
    found = parse_run(describe_run(), {"items": [describe_task("shards-amd64", shard=shard)]})
    assert found.tasks[0].shard is None


@pytest.mark.parametrize(
    ("run", "tasks"),
    [
        ([], {"items": []}),
        ({}, {"items": []}),
        ({"metadata": {"name": 7}}, {"items": []}),
        (describe_run(), {}),
        (describe_run(), {"items": [{"metadata": None}]}),
        (describe_run(), {"items": [{"metadata": {"name": "a"}, "status": {"conditions": {}}}]}),
        (describe_run() | {"status": {"conditions": [{"type": "x"}]}}, {"items": []}),
    ],
)
def test_what_is_something_else_is_damage(run: object, tasks: object) -> None:
    with pytest.raises(FormatError, match="it is no"):
        parse_run(run, tasks)


def test_results_that_are_no_text_are_passed_over() -> None:
    task = describe_task("plan", "True", results={"PLAN_ARTIFACT": ["a"], "count": "2"})
    assert parse_run(describe_run(), {"items": [task]}).plan == ""


def test_tasks_are_found_by_the_label_that_tekton_gives() -> None:
    assert selector_of("r") == "tekton.dev/pipelineRun=r"
