"""Carries out one shard of a plan: the project is laid out, built, proven, signed, booted and published as anywhere.

It goes on where another machine was killed: what a registry has of the plan is not made again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from builder import __version__
from builder.build.runs import BuildReport, build_project
from builder.components.planning import plan_components
from builder.components.result import ComponentReport
from builder.components.runs import build_project_components
from builder.drivers.commit import SourceCommit
from builder.errors import UsageError
from builder.plan.decide import UNTRUSTED, Action
from builder.plan.planning import BootOptions, plan_project
from builder.plan.project import open_project
from builder.publish.cells import publish_project
from builder.publish.components import publish_components
from builder.publish.elsewhere import find_elsewhere
from builder.shards.planning import as_on_a_new_machine, cells_of, components_of, plan_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from builder.plan.project import Project
    from builder.publish.result import PublishResult
    from builder.shards.artefact import FetchedPlan, PlanRegistry
    from builder.shards.document import PlanDocument, PlannedShard


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """How one shard ended: cells, component images, and what became of them in registries."""

    build: BuildReport
    images: ComponentReport
    published: tuple[PublishResult, ...] = ()


def open_planned(project: Project, plan: FetchedPlan, registry: PlanRegistry) -> Project:
    """Lay out a plan's project in the work folder of this machine, and open it; trusted no more than the plan says.

    Raises:
        FormatError: what the registry has is no project. SourceError: it refuses, or gives no answer.
    """
    root = registry.lay_out_project(plan, project.work_dir / "plans")
    untrusted = plan.document.untrusted or project.untrusted
    # What a stranger's code left must not be found by a build that signs: a folder of its own, as without a plan.
    work_dir = project.work_dir / UNTRUSTED if untrusted and not project.untrusted else project.work_dir
    commits = {name: SourceCommit(**item.model_dump()) for name, item in plan.document.commits.items()}
    found = replace(open_project(root, work_dir), cache_dir=project.cache_dir, is_copy=True, commits=commits)
    return found.distrust() if untrusted else found


def check_shard(project: Project, document: PlanDocument, shard: PlannedShard) -> None:
    """Check that this machine makes the very images that the plan means.

    Raises:
        UsageError: it is one of another architecture, or its kmodsmith makes them of other inputs.
    """
    if shard.arch is not project.build_arch:
        raise UsageError(
            f"shard {shard.number} is for machines of {shard.arch}, and this one is {project.build_arch}",
            hint="node selectors say where it runs: 'kubernetes.io/arch'",
        )
    check_keys(document, find_keys(project, document, shard))


def find_keys(project: Project, document: PlanDocument, shard: PlannedShard) -> dict[str, str]:
    """Return the keys of a shard's cells and component images as this machine makes them."""
    new = as_on_a_new_machine(project)
    found: dict[str, str] = {}
    if shard.cells:
        selector = cells_of(document.selection, frozenset(shard.cells))
        boot = BootOptions(when=document.boot)
        found |= {item.cell.id: item.key for item in plan_project(new, selector, boot=boot).plan.decisions}
    if shard.components:
        chosen = components_of(document.selection, frozenset(shard.components))
        found |= {item.item.id: item.key for item in plan_components(new, chosen).plan.decisions}
    return {item: found.get(item, "") for item in (*shard.cells, *shard.components)}


def check_keys(document: PlanDocument, found: Mapping[str, str]) -> None:
    """Check that keys are those of the plan; raises UsageError where they are not."""
    wanted = document.keys
    others = [item for item, key in found.items() if key != wanted.get(item, "")]
    if not others:
        return
    item = others[0]
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    versions = (
        f"the plan was made by kmodsmith {document.kmodsmith}, and this is {__version__}"
        if document.kmodsmith != __version__
        else "versions.yaml is trusted there and not here, or a date in it passed"
    )
    raise UsageError(
        f"this machine makes {item}{more} of other inputs than the plan says: key {found[item][:12] or 'none'}, wanted "
        f"{wanted.get(item, '')[:12] or 'none'}; {versions}",
        hint="use one builder image in all tasks, by digest; or plan again",
    )


def run_shard(
    project: Project, document: PlanDocument, shard: PlannedShard, err: Console, *, jobs: int | None
) -> ShardReport:
    """Build and publish what a shard has; lists and indexes are the gate's.

    Raises: as ``build_project`` and ``publish_project``.
    """
    selector = cells_of(document.selection, frozenset(shard.cells))
    elsewhere = find_elsewhere if document.publish else None
    report, images = BuildReport(results=(), wall_s=0.0, run_id=""), ComponentReport()
    if shard.cells:
        report = build_project(
            project, selector, err, force=False, jobs=jobs, locked=True, boot=BootOptions(when=document.boot),
            elsewhere=elsewhere,
        )  # fmt: skip
    chosen = components_of(document.selection, frozenset(shard.components))
    if shard.components:
        there = plan_images(project, document.selection, ids=chosen.ids, publish=document.publish).decisions
        missing = frozenset(item.item.id for item in there if item.action is not Action.SKIP or not document.publish)
        if missing:
            say = partial(err.print, markup=False, highlight=False, soft_wrap=True)
            images = build_project_components(project, replace(chosen, ids=missing), say)
    published: list[PublishResult] = []
    if document.publish and shard.cells:
        published += publish_project(project, selector, with_lists=False)
    if document.publish and shard.components:
        published += publish_components(project, chosen, with_lists=False)
    return ShardReport(build=report, images=images, published=tuple(published))
