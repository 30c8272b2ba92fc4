"""Following a run: what is looked at, what is written here, and what hostile evidence may do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.pipeline_runs import describe_run, describe_task
from fakes.plans import make_evidence, open_plans, push_sample
from fakes.registry import FakeRegistry

from builder.errors import SourceError, UsageError
from builder.shards.artefact import ArtifactFile
from builder.shards.following import PAUSE_S, download, follow_run
from builder.shards.judging import collect
from builder.shards.pipeline_run import RunState, parse_run

if TYPE_CHECKING:
    from pathlib import Path

    from builder.shards.artefact import FetchedPlan, PlanRegistry
    from builder.shards.following import Seen


def _ended(plan: str = "") -> RunState:
    task = describe_task("plan", "True", results={"PLAN_ARTIFACT": plan})
    return parse_run(describe_run("True", "Succeeded"), {"items": [task]})


@pytest.fixture
def plans(tmp_path: Path, project_dir: Path) -> tuple[PlanRegistry, FetchedPlan]:
    server = FakeRegistry()
    plan = push_sample(server, tmp_path, project_dir)
    return open_plans(server, tmp_path), plan


def test_evidence_comes_into_files_of_the_run(plans: tuple[PlanRegistry, FetchedPlan], tmp_path: Path) -> None:
    registry, plan = plans
    about = plan.name.reference
    logs = {"../../up": "a", "demo-1/a": "b"}
    files = [
        ArtifactFile(name="results.json", content=b"{}"),
        ArtifactFile(name="logs.json", content=json.dumps(logs).encode()),
    ]
    registry.push_evidence(plan, "0", make_evidence(about), files)
    registry.push_evidence(plan, "gate", make_evidence(about, who="gate", exit_code=11))
    gate = download(registry, plan, collect(registry, plan), tmp_path / "work", "r-1")
    assert gate is not None
    assert gate.evidence.exit_code == 11
    folder = tmp_path / "work" / "runs" / "r-1"
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert names == [
        "gate/evidence.json", "shard-0/evidence.json", "shard-0/logs/0.log", "shard-0/logs/1.log", "shard-0/results.json",
    ]  # fmt: skip


def test_logs_that_are_none_keep_nothing_from_being_read(
    plans: tuple[PlanRegistry, FetchedPlan], tmp_path: Path
) -> None:
    registry, plan = plans
    files = [ArtifactFile(name="logs.json", content=b"[")]
    registry.push_evidence(plan, "0", make_evidence(plan.name.reference), files)
    assert download(registry, plan, collect(registry, plan), tmp_path / "work", "r-1") is None
    assert (tmp_path / "work" / "runs" / "r-1" / "shard-0" / "evidence.json").is_file()


def test_a_link_in_the_way_is_not_followed(plans: tuple[PlanRegistry, FetchedPlan], tmp_path: Path) -> None:
    registry, plan = plans
    registry.push_evidence(plan, "0", make_evidence(plan.name.reference))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "runs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="leads out of"):
        download(registry, plan, collect(registry, plan), tmp_path / "work", "r-1")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_plan_is_opened_once(plans: tuple[PlanRegistry, FetchedPlan]) -> None:
    states = [_ended("the plan"), parse_run(describe_run(), {"items": [describe_task("plan")]})]
    states.insert(
        1, parse_run(describe_run(), {"items": [describe_task("plan", results={"PLAN_ARTIFACT": "the plan"})]})
    )
    opened: list[str] = []
    shown: list[Seen] = []

    def open_plan(name: str) -> tuple[PlanRegistry, FetchedPlan]:
        opened.append(name)
        return plans

    pauses: list[float] = []
    seen = follow_run(states.pop, open_plan, shown.append, pause=pauses.append)
    assert seen.state.ended
    assert opened == ["the plan"]
    assert len(shown) == 3
    assert pauses == [PAUSE_S, PAUSE_S]


def test_a_registry_that_is_silent_is_asked_again() -> None:
    failures = 3

    def open_plan(_: str) -> tuple[PlanRegistry, FetchedPlan]:
        nonlocal failures
        failures -= 1
        raise SourceError("no answer") if failures else UsageError("it names no plan")

    with pytest.raises(UsageError, match="no plan"):
        follow_run(lambda: _ended("x"), open_plan, lambda _: None, pause=lambda _: None)
    assert failures == 0
