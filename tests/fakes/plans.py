"""A plan for two machines, evidence about it, and a registry that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.kernel import Arch
from builder.plan.project import open_project
from builder.shards.artefact import PlanRegistry, parse_repository
from builder.shards.document import PlanDocument, PlannedItem, PlannedShard, PlanSelection
from builder.shards.evidence import EvidenceRow, ShardEvidence
from builder.shards.snapshot import read_snapshot, write_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from builder.shards.artefact import FetchedPlan
    from fakes.registry import FakeRegistry

KEY = "a" * 64


def make_plan(**changes: Any) -> PlanDocument:
    items = {
        name: PlannedItem.model_validate({"id": name, "action": "build", "reason": "never-built", "key": KEY})
        for name in ("demo-1/a", "demo-1/b", "plugin-1/x86_64")
    }
    said: dict[str, Any] = {
        "kmodsmith": "1.0",
        "publish": True,
        "selection": PlanSelection(group="few"),
        "cells": (items["demo-1/a"], items["demo-1/b"]),
        "components": (items["plugin-1/x86_64"],),
        "shards": (
            PlannedShard(number=0, arch=Arch.X86_64, cells=("demo-1/a",), components=("plugin-1/x86_64",)),
            PlannedShard(number=1, arch=Arch.AARCH64, cells=("demo-1/b",)),
        ),
    }
    return PlanDocument(**(said | changes))


def make_evidence(about: str, **changes: Any) -> ShardEvidence:
    said: dict[str, Any] = {
        "plan": about,
        "who": "0",
        "arch": "x86_64",
        "kmodsmith": "1.0",
        "started": "2026-01-01T00:00:00Z",
        "finished": "2026-01-01T00:01:00Z",
        "exit_code": 0,
        "cells": (EvidenceRow(id="demo-1/a", key=KEY, status="built", digest=f"sha256:{KEY}"),),
    }
    return ShardEvidence(**(said | changes))


def open_plans(server: FakeRegistry, folder: Path) -> PlanRegistry:
    registry, uploader, _ = server.open(folder / "cache")
    return PlanRegistry(registry, uploader, folder / "scratch")


def push_sample(server: FakeRegistry, folder: Path, project_dir: Path, **changes: Any) -> FetchedPlan:
    """Bring a plan with a project's files into a registry, and read it back."""
    plans = open_plans(server, folder)
    archive = folder / "project.tar"
    write_snapshot(read_snapshot(open_project(project_dir)), archive)
    name = plans.push_plan(parse_repository("quay.test/plans"), make_plan(**changes), archive)
    return plans.fetch_plan(name)
