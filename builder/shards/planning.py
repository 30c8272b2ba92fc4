"""Plans for many machines: what registries lack, cut into shards, and brought into a registry with the project.

It is decided as on a machine that has built nothing: neither this machine's container store nor its journal counts, so
that every machine plans the same. What is recorded here only tells how long work takes.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder import __version__
from builder.build.equipment import read_project_commit
from builder.components.decide import ComponentPlan, ComponentSelector
from builder.components.planning import plan_components
from builder.drivers.git import read_commit
from builder.drivers.tree import read_tree
from builder.errors import UsageError
from builder.kernel import Arch
from builder.plan.decide import WANTING, Action, Elsewhere, Plan, Reason
from builder.plan.matrix import Selector
from builder.plan.planning import BootOptions, plan_project
from builder.publish.elsewhere import ask_registries, find_elsewhere
from builder.publish.result import LOCAL
from builder.shards.document import PlanDocument, PlannedCommit, PlannedItem, PlannedShard, PlanSelection
from builder.shards.grouping import Costs, WorkItem, group_work, measure_costs
from builder.shards.snapshot import read_snapshot, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from builder.components.decide import ComponentDecision
    from builder.drivers.commit import SourceCommit
    from builder.plan.decide import Decision
    from builder.plan.project import Project
    from builder.pullspec import Pullspec
    from builder.shards.artefact import PlanRegistry
    from builder.shards.document import ShardWish

_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardedPlan:
    """A plan with what was decided, for tables, and what goes to other machines."""

    plan: Plan
    images: ComponentPlan
    document: PlanDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedCell:
    """A cell with the architecture of the machines that can build it."""

    decision: Decision
    arch: Arch


def as_on_a_new_machine(project: Project) -> Project:
    """Return the project as a machine sees it that has built nothing."""
    new = replace(project, has_store=False, work_dir=project.work_dir / "nothing-built")
    new.__dict__["told"] = project.told
    return new


def select(chosen: Selector, components: ComponentSelector | None, *, has_cells: bool, group: str) -> PlanSelection:
    """Return what was asked for, as the plan tells it."""
    return PlanSelection(
        group=chosen.group or group,
        drivers=chosen.drivers,
        kernels=chosen.kernels,
        arches=chosen.arches or (components.arches if components else ()),
        variants=chosen.variants,
        components=components.names if components else (),
        has_cells=has_cells,
        has_components=components is not None,
    )


def cells_of(selection: PlanSelection, cells: frozenset[str] = frozenset()) -> Selector:
    """Return the selector of a plan's cells, or of some of them."""
    return Selector(
        group=selection.group,
        drivers=selection.drivers,
        kernels=selection.kernels,
        arches=selection.arches,
        variants=selection.variants,
        cells=cells,
    )


def components_of(selection: PlanSelection, ids: frozenset[str] = frozenset()) -> ComponentSelector:
    """Return the selector of a plan's component images, or of some of them."""
    return ComponentSelector(names=selection.components, arches=selection.arches, ids=ids)


def plan_shards(project: Project, selection: PlanSelection, wish: ShardWish) -> ShardedPlan:
    """Decide what is to be made, and by which shard; only registries are asked for what is there.

    Raises:
        UsageError: what is made would go to no registry.
    """
    new = as_on_a_new_machine(project)
    publish = wish.publish and not project.untrusted
    placed = place_cells(new, selection, wish.boot, publish=publish) if selection.has_cells else []
    images = plan_images(new, selection, publish=publish) if selection.has_components else ComponentPlan()
    if publish:
        _check_places([item.decision for item in placed], images.decisions)
    costs = measure_costs(project.journal.cells.values(), project.journal.boots.values())
    shards = _make_shards(project, placed, images, costs, most=wish.shards)
    plan = Plan(decisions=tuple(item.decision for item in placed))
    document = PlanDocument(
        kmodsmith=__version__,
        run=wish.run,
        publish=publish,
        untrusted=project.untrusted,
        boot=wish.boot,  # type: ignore[arg-type] # pydantic checks it
        is_guessed=costs.is_guessed,
        selection=selection,
        commits=_read_commits(project, selection),
        cells=tuple(_describe(item.decision.cell.id, item.decision) for item in placed),
        components=tuple(_describe(item.item.id, item) for item in images.decisions),
        shards=tuple(shards),
    )
    return ShardedPlan(plan=plan, images=images, document=document)


def send_plan(project: Project, document: PlanDocument, registry: PlanRegistry, place: Pullspec) -> Pullspec:
    """Bring a plan and its project into a registry; returns its name by digest.

    Raises:
        UsageError: the project cannot be carried: something lies outside of it, or is a secret.
        SourceError: the registry refuses, or gives no answer.
    """
    project.work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=project.work_dir, prefix="plan-") as folder:
        archive = Path(folder, "project.tar")
        write_snapshot(read_snapshot(project), archive)
        return registry.push_plan(place, document, archive)


def place_cells(
    project: Project, selection: PlanSelection, policy: str | None, *, publish: bool = False
) -> list[PlacedCell]:
    """Plan for machines like this one, and for those of the architectures that alone can build the rest.

    Args:
        project: as on a new machine.
        selection: which cells.
        policy: for boot tests; None: that of versions.yaml.
        publish: whether registries are asked what they have already.
    """
    elsewhere = find_elsewhere if publish else None
    boot = BootOptions(when=policy)
    selector = cells_of(selection)
    decisions = plan_project(project, selector, boot=boot, elsewhere=elsewhere).plan.decisions
    placed = {item.cell.id: PlacedCell(decision=item, arch=project.build_arch) for item in decisions}
    for arch in Arch:
        others = frozenset(key for key, item in placed.items() if item.decision.reason is Reason.OTHER_MACHINE)
        if not others:
            break
        if arch is project.build_arch:
            continue
        there = replace(project, build_arch=arch)
        found = plan_project(there, replace(selector, cells=others), boot=boot, elsewhere=elsewhere).plan.decisions
        placed |= {
            item.cell.id: PlacedCell(decision=item, arch=arch)
            for item in found
            if item.reason is not Reason.OTHER_MACHINE
        }
    return list(placed.values())


def plan_images(
    project: Project, selection: PlanSelection, *, ids: frozenset[str] = frozenset(), publish: bool
) -> ComponentPlan:
    """Decide about component images, or some of them; with ``publish``, registries are asked what they have already."""
    plan = plan_components(project, components_of(selection, ids)).plan
    if not publish:
        return plan
    wanted = {item.item.id: (item.key, (item.image,)) for item in plan.decisions if _is_published(item)}
    found = ask_registries(project, wanted) if wanted else {}
    return ComponentPlan(decisions=tuple(_leave_alone(item, found.get(item.item.id)) for item in plan.decisions))


def _is_published(decision: ComponentDecision) -> bool:
    return bool(decision.key) and not decision.image.startswith(LOCAL)


def _leave_alone(decision: ComponentDecision, said: Elsewhere | None) -> ComponentDecision:
    """Leave alone what its registry has, made of the same inputs and signed, and what nobody can say anything about."""
    if said is None:
        return decision
    if said.problem:
        sentence = f"whether its registry has it is not known: {said.problem}"
        return replace(decision, action=Action.REFUSE, reason=Reason.REGISTRY_UNKNOWN, explanation=sentence)
    sentence = f"its registry has it, made from the same inputs: {said.digest}"
    return replace(decision, action=Action.SKIP, reason=Reason.PUBLISHED, explanation=sentence)


def _check_places(decisions: Iterable[Decision], images: Iterable[ComponentDecision]) -> None:
    """Check that what other machines make does not stay there, and is lost with them.

    Raises:
        UsageError: a driver or component has no registry.
    """
    local = {item.cell.driver: "driver" for item in decisions if item.key and item.image.startswith(LOCAL)}
    local |= {item.item.declaration.name: "component" for item in images if item.key and item.image.startswith(LOCAL)}
    if local:
        named = ", ".join(f"{what} {name}" for name, what in sorted(local.items()))
        raise UsageError(
            f"what other machines make is lost with them, and these have no 'image' in a registry: {named}",
            hint="give them one in versions.yaml; or plan with --no-publish, which only leaves evidence",
        )


def _make_shards(
    project: Project, placed: Sequence[PlacedCell], images: ComponentPlan, costs: Costs, *, most: int
) -> Iterator[PlannedShard]:
    work: dict[Arch, list[WorkItem]] = {}
    for item in placed:
        if item.decision.action in WANTING:
            work.setdefault(item.arch, []).append(_cell_work(item.decision, costs))
    made = [item.item.id for item in images.decisions if item.action is Action.BUILD]
    # Any machine makes component images for any architecture; their keys are those of machines like this one.
    for name in made:
        work.setdefault(project.build_arch, []).append(WorkItem(id=name, toolkit="", seconds=costs.cell_s))
    components = frozenset(made)
    number = 0
    for arch, share in _divide(most, {arch: len(items) for arch, items in work.items()}).items():
        for shard in group_work(work[arch], most=share, toolkit_s=costs.toolkit_s):
            yield PlannedShard(
                number=number,
                arch=arch,
                cells=tuple(item for item in shard.items if item not in components),
                components=tuple(item for item in shard.items if item in components),
                predicted_s=shard.seconds,
            )
            number += 1


def _cell_work(decision: Decision, costs: Costs) -> WorkItem:
    return WorkItem(
        id=decision.cell.id,
        toolkit=f"{decision.cell.source} {decision.compile_kernel.raw}",
        seconds=costs.of_cell(decision.cell.driver, is_booted=bool(decision.boot_key)),
    )


def _divide(most: int, work: Mapping[Arch, int]) -> dict[Arch, int]:
    """Return how many shards each architecture may have: by how much work it has, and at least one."""
    total = sum(work.values())
    shares = {arch: max(1, most * number // total) for arch, number in sorted(work.items())}
    while sum(shares.values()) > max(most, len(shares)):
        largest = max(shares, key=lambda arch: (shares[arch], arch))
        shares[largest] -= 1
    return shares


def _read_commits(project: Project, selection: PlanSelection) -> dict[str, PlannedCommit]:
    """Return which commits a project's files were taken from, for provenance: they travel without repositories."""
    found: dict[str, SourceCommit | None] = {}
    drivers = project.drivers.values() if selection.has_cells else ()
    for driver in drivers:
        files = [*driver.tree.files, *driver.tests.files]
        said = driver.declaration
        found[f"driver {said.name}"] = read_commit("source", said.source_dir, files)
    components = project.config.components if selection.has_components else ()
    for component in components:
        files = [*read_tree(component.source_dir).files]
        found[f"component {component.name}"] = read_commit("source", component.source_dir, files)
    found["project"] = read_project_commit(project, [item.declaration.containerfile_file for item in drivers])
    return {name: PlannedCommit(**asdict(commit)) for name, commit in found.items() if commit}


def _describe(name: str, decision: Decision | ComponentDecision) -> PlannedItem:
    return PlannedItem(
        id=name,
        action=decision.action,
        reason=decision.reason,
        explanation=decision.explanation[:4000],
        key=decision.key,
        image=decision.image,
    )
