"""Reads what the files for KMM are made of: the lock, the drivers, and what registries really have."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.attachments import Attachments
from builder.attest.simple_signing import is_signed_as
from builder.emit.kmm import KmmFacts, PublishedCell, ReleaseKernel
from builder.errors import UsageError
from builder.image_signer import read_image_key
from builder.lock import LockedOpenShift, natural_key
from builder.matrix import matches_any
from builder.progress import no_progress
from builder.publish import read_standing
from builder.publishing import LOCAL, name_cells
from builder.pull import open_registries
from builder.pullspec import parse_pullspec
from builder.upload import Uploader
from builder.workflow import NO_BOOTS, plan_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from builder.attest.public_key import PublicKey
    from builder.matrix import Cell, Selector
    from builder.plan import Decision
    from builder.progress import Progress
    from builder.project import Project
    from builder.publish_result import CellNames
    from builder.registry import Registry

_AT_ONCE = 16
# The cluster sets these itself, or they are those of another machine.
_NOT_IN_CLUSTER = frozenset({"DTK_AUTO", "BASE_IMAGE", "KERNEL_VERSION", "KERNEL_FULL_VERSION"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutCell:
    """A cell without an image that a Module may name, and why."""

    cell: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KmmInput:
    """Facts for each selected driver, and which cells are not among them."""

    drivers: tuple[KmmFacts, ...]
    left_out: tuple[LeftOutCell, ...]


def read_kmm_facts(
    project: Project, selector: Selector, *, releases: Sequence[str] = (), progress: Progress = no_progress
) -> KmmInput:
    """Ask registries for the images of the selected cells; only what is there, of these inputs and signed, counts.

    Args:
        project: its versions.yaml, lock and sources.
        selector: which cells.
        releases: globs over OpenShift releases that preflights are wanted for; empty: the newest of each minor.
        progress: is told how many cells were asked for.

    Raises:
        SourceError: a registry refuses or does not answer. A Module without kernels that have an image would make
            nodes unload it, so nothing is said then.
        UsageError: no selected driver goes to a registry.
    """
    planned = plan_project(project, selector, boot=NO_BOOTS)
    names = name_cells(project, selector)
    wanted = [item for item in planned.plan.decisions if item.key and not names[item.cell.id].own[0].startswith(LOCAL)]
    if not wanted:
        raise UsageError("no selected driver has an image in a registry", hint="give it an 'image' in versions.yaml")
    key = read_image_key(project.config)
    registry = open_registries(project.config.registry, project.file.parent, project.cache_dir).registry
    cells: dict[str, list[PublishedCell]] = {}
    left_out = []
    with closing(registry):
        finder = _Finder(registry, Uploader(registry, actions="pull"), [key] if key else [])
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="kmm") as pool:
            found = pool.map(lambda item: finder.find(item, names[item.cell.id]), wanted)
            for number, (decision, result) in enumerate(zip(wanted, found, strict=True), start=1):
                if isinstance(result, str):
                    left_out.append(LeftOutCell(cell=decision.cell.id, why=result))
                else:
                    cells.setdefault(decision.cell.driver, []).append(result)
                progress(number, len(wanted))
    drivers = dict.fromkeys(item.cell.driver for item in wanted)
    facts = [
        _read_driver(project, name, cells[name], _find_releases(project, _of(wanted, name), releases))
        for name in drivers
        if name in cells
    ]
    return KmmInput(drivers=tuple(facts), left_out=tuple(left_out))


def _of(decisions: Iterable[Decision], driver: str) -> list[Cell]:
    return [decision.cell for decision in decisions if decision.cell.driver == driver]


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


def _read_driver(
    project: Project, name: str, cells: Sequence[PublishedCell], releases: Sequence[ReleaseKernel]
) -> KmmFacts:
    driver = next(item for item in project.config.drivers if item.name == name)
    source = project.drivers[name]
    modules = source.recipe.module_names or ()
    if not modules:
        raise UsageError(f"driver {name} does not say which modules it has", hint="name them under 'modules'")
    arguments = source.recipe.build_arguments(cells[0].kernel, toolkit_image="", base_image="")
    wanted = {key: value for key, value in arguments.items() if value and key not in _NOT_IN_CLUSTER}
    if driver.base_image:
        wanted["BASE_IMAGE"] = driver.base_image
    return KmmFacts(
        driver=driver,
        modules=modules,
        cells=cells,
        releases=releases,
        containerfile=driver.containerfile_file.read_text(encoding="utf-8"),
        build_arguments=wanted,
    )


def _find_releases(project: Project, cells: Sequence[Cell], globs: Sequence[str]) -> list[ReleaseKernel]:
    """Return the releases that run the cells' kernels, with the toolkit that each brings; or the kernels alone."""
    source = project.lock.sources[cells[0].source]
    if not isinstance(source, LockedOpenShift):
        return [ReleaseKernel(release="", kernel=cell.kernel) for cell in cells]
    return [
        ReleaseKernel(
            release=f"{version}-{cell.kernel.arch}", kernel=cell.kernel, toolkit=_toolkit(source, version, cell)
        )
        for cell in cells
        for version in _chosen(source, source.kernels[cell.kernel.raw].releases, globs)
    ]


def _chosen(source: LockedOpenShift, versions: Iterable[str], globs: Sequence[str]) -> Iterator[str]:
    newest: dict[str, str] = {}
    for version in sorted((key.rpartition("-")[0] for key in source.releases), key=natural_key):
        newest[_minor(version)] = version
    for version in versions:
        if matches_any(version, globs) if globs else newest[_minor(version)] == version:
            yield version


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _toolkit(source: LockedOpenShift, version: str, cell: Cell) -> str:
    """Return the toolkit that a release itself brings for a kernel, else the one that its cell is built with."""
    release = source.releases[f"{version}-{cell.kernel.arch}"]
    own = (
        stream.toolkit for stream in release.streams.values() if "toolkit" in stream.kernels.get(cell.kernel.raw, ())
    )
    return next(own, "") or source.kernels[cell.kernel.raw].toolkit
