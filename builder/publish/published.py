"""What registries have of the selected cells: for files and bundles that name images by digest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.attest.simple_signing import is_signed_as
from builder.errors import UsageError
from builder.progress import no_progress
from builder.publish.attachments import Attachments
from builder.publish.cells import find_shared_names, name_cells
from builder.publish.image_signer import read_image_key
from builder.publish.publisher import read_standing
from builder.publish.result import LOCAL, PublishedCell
from builder.pull import open_registries
from builder.pullspec import parse_pullspec
from builder.upload import Uploader
from builder.workflow import NO_BOOTS, plan_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.attest.public_key import PublicKey
    from builder.matrix import Cell, Selector
    from builder.plan import Decision
    from builder.progress import Progress
    from builder.project import Project
    from builder.publish.result import CellNames
    from builder.registry import Registry

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
    wanted = [item for item in planned.plan.decisions if item.key and not names[item.cell.id].own[0].startswith(LOCAL)]
    if not wanted:
        raise UsageError("no selected driver has an image in a registry", hint="give it an 'image' in versions.yaml")
    key = read_image_key(project.config)
    registry = open_registries(project.config.registry, project.file.parent, project.cache_dir).registry
    cells: list[tuple[Cell, PublishedCell]] = []
    images: list[tuple[str, str]] = []
    left_out = []
    with closing(registry):
        finder = _Finder(registry, Uploader(registry, actions="pull"), [key] if key else [])
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="published") as pool:
            found = pool.map(lambda item: finder.find(item, names[item.cell.id]), wanted)
            for number, (decision, result) in enumerate(zip(wanted, found, strict=True), start=1):
                if isinstance(result, str):
                    left_out.append(LeftOutCell(cell=decision.cell.id, why=result))
                else:
                    cells.append((decision.cell, result))
                    images += [(name, result.digest) for name in names[decision.cell.id].own]
                progress(number, len(wanted))
        for shared in find_shared_names(project, selector, NO_BOOTS, names, wanted):
            standing = read_standing(registry, finder.uploader, parse_pullspec(shared.name))
            if standing is not None and standing.key == shared.key:
                images.append((shared.name, standing.digest))
    return Published(cells=tuple(cells), images=tuple(images), left_out=tuple(left_out))


@dataclass(frozen=True, slots=True)
class _Finder:
    registry: Registry
    uploader: Uploader
    keys: Sequence[PublicKey]

    def find(self, decision: Decision, names: CellNames) -> PublishedCell | str:
        """Return a cell's image, or why it has none that counts."""
        place = parse_pullspec(names.own[0])
        standing = read_standing(self.registry, self.uploader, place)
        if standing is None:
            return f"{place} is not published"
        if standing.key != decision.key:
            return f"{place} was made from other inputs than there are now"
        image = place.at(standing.digest)
        if self.keys:
            signatures = Attachments(self.registry, self.uploader).signatures(image)
            if not is_signed_as(signatures, str(place), standing.digest, self.keys):
                return f"{place} is not signed by the key of publish.signer"
        return PublishedCell(
            kernel=decision.cell.kernel,
            repository=f"{place.host}/{place.repository}",
            digest=standing.digest,
            tags=tuple(name.rpartition(":")[2] for name in names.all),
        )
