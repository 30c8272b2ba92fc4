"""Says what came of a plan, from registries alone: what every shard left behind, and whether each image is there.

Green is what is in its registry, made of the inputs that the plan says, and signed where that is wanted; evidence tells
why the rest is not. A shard that left nothing is told, and never taken for one that had nothing to do. In the end the
lists of several architectures and the indexes are written, as ``publish`` does it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from builder.build.runs import BuildReport
from builder.components.planning import plan_components
from builder.components.result import ComponentReport
from builder.errors import EXIT_OK, FailureClass, FormatError
from builder.host.locks import hold_project
from builder.plan.decide import Action
from builder.plan.planning import BootOptions
from builder.publish.cells import NO_FORCE, find_lists, make_publishable, name_cells, open_publisher
from builder.publish.components import find_lists as find_image_lists
from builder.publish.components import make_publishable as make_publishable_image
from builder.publish.index import publish_indexes
from builder.publish.result import LOCAL, PublishResult, PublishStatus
from builder.shards.planning import as_on_a_new_machine, cells_of, components_of, place_cells
from builder.shards.running import check_keys
from builder.shards.telling import cell_result, explain_silence, image_result, no_evidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.build.result import CellResult
    from builder.components.decide import ComponentDecision
    from builder.components.result import ComponentResult
    from builder.errors import Failure
    from builder.plan.decide import Decision
    from builder.plan.project import Project
    from builder.publish.publisher import Publisher
    from builder.shards.artefact import FetchedPlan, FoundEvidence, PlanRegistry
    from builder.shards.document import PlanDocument
    from builder.shards.evidence import EvidenceRow, ShardEvidence

_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Evidence by the numbers of shards, and sentences about those whose evidence is not what it should be."""

    found: Mapping[int, FoundEvidence] = field(default_factory=dict)
    wrong: Mapping[int, str] = field(default_factory=dict)

    def missing(self, document: PlanDocument) -> dict[int, str]:
        """Return why there is no evidence of a shard, for each of which there is none."""
        gone = "shard {} left no evidence: it was killed, or never ran"
        return {
            shard.number: self.wrong.get(shard.number) or gone.format(shard.number)
            for shard in document.shards
            if shard.number not in self.found
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How a plan ended: cells and component images as if built here, lists and indexes, and what is missing."""

    build: BuildReport
    images: ComponentReport
    further: tuple[PublishResult, ...] = ()
    """Lists of several architectures, and indexes."""
    missing: Mapping[int, str] = field(default_factory=dict)
    """Shards without evidence, and why."""

    def exit_code(self, code: int) -> int:
        """Return the exit code, where cells and images alone give ``code``."""
        if code != EXIT_OK:
            return code
        if any(item.is_failure or item.is_waiting for item in self.further):
            return FailureClass.PUBLISH.exit_code
        return FailureClass.INFRASTRUCTURE.exit_code if self.missing else EXIT_OK


def collect(registry: PlanRegistry, plan: FetchedPlan) -> Collected:
    """Read what the shards of a plan left behind.

    Raises:
        SourceError: the registry refuses, or gives no answer: then nothing is known.
    """

    def look(number: int) -> FoundEvidence | str | None:
        try:
            return registry.find_evidence(plan, str(number))
        except FormatError as error:
            return f"the evidence of shard {number} is not as it should be: {error.message}"

    numbers = [shard.number for shard in plan.document.shards]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="evidence") as pool:
        answers = dict(zip(numbers, pool.map(look, numbers), strict=True))
    return Collected(
        found={number: item for number, item in answers.items() if item is not None and not isinstance(item, str)},
        wrong={number: item for number, item in answers.items() if isinstance(item, str)},
    )


def judge(project: Project, plan: FetchedPlan, collected: Collected) -> Judgement:
    """Say how each cell and component image of a plan ended, and write what belongs to all of them.

    Raises:
        UsageError: this kmodsmith makes images of other inputs than the plan says.
        SignerError: the key that signs lists and indexes cannot be used.
        BusyError: another run works in the work folder.
    """
    document, new = plan.document, as_on_a_new_machine(project)
    selection = document.selection
    cells = [item.decision for item in place_cells(new, selection, document.boot)] if selection.has_cells else []
    images = plan_components(new, components_of(selection)).plan.decisions if selection.has_components else ()
    check_keys(document, _keys(document, cells, images))
    cells = [_as_planned(item, document) for item in cells]
    images = [_image_as_planned(item, document) for item in images]
    if not document.publish:
        return _tell(project, document, collected, cells, images, published={}, further=())
    # What registries have counts, and not what a container store here may have; what is written is recorded here.
    reading = replace(project, has_store=False)
    with open_publisher(reading) as publisher, hold_project(project.work_dir):
        published = _look(reading, document, publisher, cells, images)
        lists = _publish_lists(reading, document, publisher, cells, images)
    results = [item for item in published.values() if item.kernel]
    indexes = publish_indexes(reading, results, NO_FORCE) if cells else []
    further = (*lists, *(item for item in indexes if item.status is not PublishStatus.LEFT_OUT))
    return _tell(project, document, collected, cells, images, published=published, further=further)


def retell(project: Project, plan: FetchedPlan, gate: ShardEvidence, collected: Collected) -> Judgement:
    """Say how a plan ended in the words that its gate left, and look at nothing else: for who reads along.

    Raises:
        UsageError: this kmodsmith makes images of other inputs than the plan says.
    """
    document, new = plan.document, as_on_a_new_machine(project)
    selection = document.selection
    placed = place_cells(new, selection, document.boot) if selection.has_cells else []
    cells = [_as_planned(item.decision, document) for item in placed]
    images = plan_components(new, components_of(selection)).plan.decisions if selection.has_components else ()
    check_keys(document, _keys(document, cells, images))
    rows = {row.id: row for row in (*gate.cells, *gate.components)}
    silent = explain_silence("the gate", gate)
    results = [
        cell_result(
            item, row := rows.get(item.cell.id), None, None if row else silent, is_published=False,
            may_exclude=project.drivers[item.cell.driver].may_exclude,
        )
        for item in cells
    ]  # fmt: skip
    of_images = [
        image_result(
            _image_as_planned(item, document),
            row := rows.get(item.item.id),
            None,
            None if row else silent,
            is_published=False,
        )
        for item in images
    ]
    build = BuildReport(results=results, wall_s=_longest(collected), run_id=document.run)
    return Judgement(build=build, images=ComponentReport(results=of_images))


def _longest(collected: Collected) -> float:
    """Return what the shards took, side by side, in seconds."""
    return max((found.evidence.wall_s for found in collected.found.values()), default=0.0)


def _keys(document: PlanDocument, cells: Sequence[Decision], images: Sequence[ComponentDecision]) -> dict[str, str]:
    found = {item.cell.id: item.key for item in cells} | {item.item.id: item.key for item in images}
    return {name: found.get(name, "") for name in document.keys}


def _as_planned(decision: Decision, document: PlanDocument) -> Decision:
    item = document.items.get(decision.cell.id)
    if item is None:
        return decision
    return replace(decision, action=item.action, reason=item.reason, explanation=item.explanation)


def _image_as_planned(decision: ComponentDecision, document: PlanDocument) -> ComponentDecision:
    item = document.items.get(decision.item.id)
    if item is None:
        return decision
    return replace(decision, action=item.action, reason=item.reason, explanation=item.explanation)


def _look(
    project: Project,
    document: PlanDocument,
    publisher: Publisher,
    cells: Sequence[Decision],
    images: Sequence[ComponentDecision],
) -> dict[str, PublishResult]:
    """Ask registries for every image that the plan wants, by its title."""
    names = name_cells(project, cells_of(document.selection)) if cells else {}

    def find(decision: Decision) -> PublishResult:
        result = publisher.publish(make_publishable(project, decision, names[decision.cell.id]))
        return replace(result, kernel=decision.cell.kernel.raw)

    def find_image(decision: ComponentDecision) -> PublishResult:
        # No image of this machine is meant, whatever the plan decided about it.
        return publisher.publish(make_publishable_image(project, replace(decision, action=Action.BUILD)))

    wanted = [item for item in cells if _is_wanted(item)]
    wanted_images = [item for item in images if item.key and not item.image.startswith(LOCAL)]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="gate") as pool:
        found = [*pool.map(find, wanted), *pool.map(find_image, wanted_images)]
    return {item.title: item for item in found}


def _is_wanted(decision: Decision) -> bool:
    return bool(decision.key) and decision.action not in {Action.EXCLUDE, Action.REFUSE}


def _publish_lists(
    project: Project,
    document: PlanDocument,
    publisher: Publisher,
    cells: Sequence[Decision],
    images: Sequence[ComponentDecision],
) -> list[PublishResult]:
    found = []
    wanted = [item for item in cells if _is_wanted(item)]
    if wanted:
        selector, boot = cells_of(document.selection), BootOptions(when=document.boot)
        names = name_cells(project, selector)
        whole = document.selection.model_copy(update={"kernels": (), "arches": (), "variants": ()})
        is_shared = any(names[item.cell.id].shared for item in wanted)
        placed = place_cells(as_on_a_new_machine(project), whole, document.boot) if is_shared else []
        decisions = [item.decision for item in placed]
        found += find_lists(project, selector, boot, names, wanted, decisions=decisions)
    if wanted_images := [item for item in images if item.key and not item.image.startswith(LOCAL)]:
        found += find_image_lists(project, wanted_images)
    return [publisher.publish_list(item) for item in found]


def _tell(
    project: Project,
    document: PlanDocument,
    collected: Collected,
    cells: Sequence[Decision],
    images: Sequence[ComponentDecision],
    *,
    published: Mapping[str, PublishResult],
    further: tuple[PublishResult, ...],
) -> Judgement:
    missing = collected.missing(document)
    rows: dict[str, EvidenceRow] = {}
    for number, found in sorted(collected.found.items()):
        shard = document.shards[number]
        own = {*shard.cells, *shard.components}
        rows |= {row.id: row for row in (*found.evidence.cells, *found.evidence.components) if row.id in own}

    def absent(name: str) -> Failure | None:
        number = document.shard_of(name)
        if number is None:
            return None
        return (
            no_evidence(missing[number])
            if number in missing
            else explain_silence(f"shard {number}", collected.found[number].evidence)
        )

    def end(decision: Decision) -> CellResult:
        name = decision.cell.id
        return cell_result(
            decision, rows.get(name), published.get(name), absent(name), is_published=document.publish,
            may_exclude=project.drivers[decision.cell.driver].may_exclude,
        )  # fmt: skip

    def end_image(decision: ComponentDecision) -> ComponentResult:
        name = decision.item.id
        return image_result(
            decision, rows.get(name), published.get(name), absent(name), is_published=document.publish
        )  # fmt: skip

    build = BuildReport(results=[end(item) for item in cells], wall_s=_longest(collected), run_id=document.run)
    return Judgement(
        build=build,
        images=ComponentReport(results=[end_image(item) for item in images]),
        further=further,
        missing=missing,
    )
