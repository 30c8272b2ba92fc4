"""Builds a project's component images: plan, lock, carry out; a plan without work takes no lock."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from builder.components.planning import PlannedComponents, plan_components
from builder.components.result import ComponentReport, ComponentResult, result_without_work

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.components.decide import ComponentSelector
    from builder.plan.project import Project


def build_project_components(
    project: Project, selector: ComponentSelector, say: Callable[[str], None], *, force: bool = False
) -> ComponentReport:
    """Plan and build component images.

    Raises:
        BusyError: another run is at work in this project.
        HostError: this machine lacks a program, or disk.
    """
    started = time.monotonic()
    planned = plan_components(project, selector, force=force)
    run_id, done = _carry_out(project, planned, say) if planned.plan.work else ("", {})
    results = tuple(done.get(item.item.id) or result_without_work(item) for item in planned.plan.decisions)
    return ComponentReport(results=results, wall_s=time.monotonic() - started, run_id=run_id)


def _carry_out(
    project: Project, planned: PlannedComponents, say: Callable[[str], None]
) -> tuple[str, dict[str, ComponentResult]]:
    # A run that has nothing to do opens nothing, and need not wait for what opens it.
    from builder.build.equipment import clear_leftovers  # noqa: PLC0415
    from builder.components.build import build_components  # noqa: PLC0415
    from builder.components.workshop import open_component_workshop  # noqa: PLC0415
    from builder.evidence.journal import make_run_id  # noqa: PLC0415
    from builder.host.disk import Demand, check_disk, check_writable  # noqa: PLC0415
    from builder.host.locks import hold_project  # noqa: PLC0415
    from builder.store.images import find_graph_root, hold_store  # noqa: PLC0415

    with ExitStack() as held:
        held.enter_context(hold_project(project.work_dir))
        check_writable(project.cache_dir)
        held.enter_context(hold_store(lambda: clear_leftovers(project, say)))
        check_disk([Demand(purpose="component images", folder=find_graph_root(), size=_ROOM_BYTES)])
        run_id = make_run_id()
        workshop = open_component_workshop(project, planned, run_id, say, held)
        return run_id, build_components(planned, workshop)


_ROOM_BYTES = 1024**3
