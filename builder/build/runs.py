"""Builds and boots a project: plan, carry out, and again where the lock had to be refreshed."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.build.result import result_without_work
from builder.plan.decide import WANTING, Action, Plan, Reason
from builder.plan.discovery import discover_project
from builder.plan.planning import NO_OPTIONS, BootOptions, FindElsewhere, Planned, choose_workers, plan_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from builder.build.result import CellResult
    from builder.plan.decide import Decision
    from builder.plan.matrix import Selector
    from builder.plan.project import Project

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    results: Sequence[CellResult]
    wall_s: float
    run_id: str


def build_project(
    project: Project,
    selector: Selector,
    err: Console,
    *,
    force: bool,
    jobs: int | None,
    locked: bool,
    retry_failed: bool = False,
    boot: BootOptions = NO_OPTIONS,
    elsewhere: FindElsewhere | None = None,
    compile_cache: str = "on",
) -> BuildReport:
    """Plan and build. A plan without work takes no lock and starts no container.

    ``compile_cache`` is ``open_workshop``'s.

    When the archive no longer serves a package of the lock, the lock is refreshed once and the cells that missed
    it are built again, unless ``locked`` forbids it.
    """
    started = time.monotonic()
    planned = plan_project(
        project, selector, force=force, retry_failed=retry_failed, jobs=jobs, boot=boot, elsewhere=elsewhere
    )
    if not planned.plan.work:
        return BuildReport(results=_results(planned, {}), wall_s=time.monotonic() - started, run_id="")
    run_id, results = _carry_out(project, planned, err, boot, compile_cache)
    if not locked and any(_is_gone(result) for result in results):
        err.print(
            "the archive no longer serves packages that versions.lock.yaml names: refreshing it",
            markup=False,
            soft_wrap=True,
        )
        discovery = discover_project(project)
        for line in (*discovery.changes, *discovery.problems):
            err.print(f"  {line}", markup=False, soft_wrap=True)
        project = project.reread()
        planned = plan_project(project, selector, jobs=jobs, boot=boot, elsewhere=elsewhere)
        run_id, results = _carry_out(project, planned, err, boot, compile_cache)
    return BuildReport(results=results, wall_s=time.monotonic() - started, run_id=run_id)


def boot_project(
    project: Project, selector: Selector, err: Console, *, jobs: int | None, boot: BootOptions
) -> BuildReport:
    """Boot every selected cell that is built, whether it passed before or not; builds nothing."""
    started = time.monotonic()
    planned = plan_project(project, selector, jobs=jobs, boot=replace(boot, when="always"))
    decisions = tuple(_refuse_unbuilt(decision) for decision in planned.plan.decisions)
    planned = replace(planned, plan=Plan(decisions=decisions))
    planned = replace(planned, workers=choose_workers(project, planned.plan, jobs))
    if not planned.plan.work:
        return BuildReport(results=_results(planned, {}), wall_s=time.monotonic() - started, run_id="")
    run_id, results = _carry_out(project, planned, err, boot)
    return BuildReport(results=results, wall_s=time.monotonic() - started, run_id=run_id)


def _refuse_unbuilt(decision: Decision) -> Decision:
    if decision.action not in WANTING:
        return decision
    sentence = f"it is not built ({decision.explanation}): run 'nox -s build' with the same selection first"
    return replace(decision, action=Action.REFUSE, reason=Reason.NOT_BUILT, explanation=sentence)


def _carry_out(
    project: Project, planned: Planned, err: Console, boot: BootOptions, compile_cache: str = "on"
) -> tuple[str, list[CellResult]]:
    # A run that has nothing to do opens nothing, and need not wait for what opens it.
    from builder.build.cells import build_plan  # noqa: PLC0415
    from builder.build.equipment import open_workshop  # noqa: PLC0415

    with open_workshop(project, planned, err, boot, compile_cache=compile_cache) as workshop:
        return workshop.run_id, _results(planned, build_plan(planned.plan, workshop))


def _results(planned: Planned, done: dict[str, CellResult]) -> list[CellResult]:
    """Return a result for every decision, in the plan's order."""
    return [done.get(decision.cell.id) or result_without_work(decision) for decision in planned.plan.decisions]


def _is_gone(result: CellResult) -> bool:
    return result.failure is not None and result.failure.code == "package-gone"
