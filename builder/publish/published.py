"""What registries have of the selected cells: for files and bundles that name images by digest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import UsageError
from builder.host.progress import no_progress
from builder.plan.decide import Reason
from builder.plan.planning import NO_BOOTS, plan_project
from builder.publish.cells import find_lists, name_cells
from builder.publish.reading import open_reader
from builder.publish.result import LOCAL, PublishedCell
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from builder.host.progress import Progress
    from builder.plan.decide import Decision
    from builder.plan.matrix import Cell, Selector
    from builder.plan.project import Project
    from builder.publish.publishable import ImageNames
    from builder.publish.reading import RegistryReader

_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutCell:
    """A cell without an image that a Module may name, and why."""

    cell: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Cells with their images; ``images`` are all names with digests, lists of several architectures included."""

    cells: tuple[tuple[Cell, PublishedCell], ...]
    images: tuple[tuple[str, str], ...]
    left_out: tuple[LeftOutCell, ...]


def read_published(project: Project, selector: Selector, *, progress: Progress = no_progress) -> Published:
    """Ask registries for the images of the selected cells; only what is there, of these inputs and signed, counts.

    Args:
        project: its versions.yaml, lock and sources.
        selector: which cells.
        progress: is told how many cells were asked for.

    Raises:
        SourceError: a registry refuses or does not answer: then nothing is said, because what is left out by mistake
            would be taken from clusters.
        UsageError: no selected driver goes to a registry.
    """
    planned = plan_project(project, selector, boot=NO_BOOTS)
    names = name_cells(project, selector)
    meant = [item for item in planned.plan.decisions if not names[item.cell.id].own[0].startswith(LOCAL)]
    if not meant:
        raise UsageError("no selected driver has an image in a registry", hint="give it an 'image' in versions.yaml")
    wanted = [item for item in meant if item.key]
    cells: list[tuple[Cell, PublishedCell]] = []
    images: list[tuple[str, str]] = []
    left_out = [LeftOutCell(cell=item.cell.id, why=item.explanation) for item in meant if _is_missed(item)]
    with open_reader(project) as reader:
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="published") as pool:
            found = pool.map(lambda item: find_published(reader, item, names[item.cell.id]), wanted)
            for number, (decision, result) in enumerate(zip(wanted, found, strict=True), start=1):
                if isinstance(result, str):
                    left_out.append(LeftOutCell(cell=decision.cell.id, why=result))
                else:
                    cells.append((decision.cell, result))
                    images += [(name, result.digest) for name in names[decision.cell.id].own]
                progress(number, len(wanted))
        for item in find_lists(project, selector, NO_BOOTS, names, wanted):
            place = parse_pullspec(item.name)
            there = reader.read_tag(place)
            if there and item.key == there.key and reader.is_signed(place, there.digest):
                images.append((item.name, there.digest))
    return Published(cells=tuple(cells), images=tuple(images), left_out=tuple(left_out))


def _is_missed(decision: Decision) -> bool:
    """Tell whether a cell that cannot be made now is one that a file or bundle lacks."""
    return not (decision.key or decision.is_left_out_for_good or decision.reason is Reason.RELEASE_KIND)


def find_published(reader: RegistryReader, decision: Decision, names: ImageNames) -> PublishedCell | str:
    """Return a cell's image, or why it has none that counts; raises SourceError where that is not known."""
    place = parse_pullspec(names.own[0])
    there = reader.read_tag(place)
    if there is None:
        return f"{place} is not published"
    if there.key != decision.key or there.is_list:
        return f"{place} was made from other inputs than there are now"
    if not reader.is_signed(place, there.digest):
        return f"{place} is not signed by the key of publish.signer"
    return PublishedCell(
        kernel=decision.cell.kernel,
        repository=f"{place.host}/{place.repository}",
        digest=there.digest,
        tags=tuple(name.rpartition(":")[2] for name in names.all),
    )
