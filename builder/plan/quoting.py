"""Reads what additions to a group would cost: the lock, and what is on record of builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.errors import UsageError
from builder.evidence.records import BootEvidence, CellEvidence, PublishEvidence
from builder.kernel import Arch
from builder.plan.matrix import Selector, make_matrix
from builder.plan.planning import count_workers
from builder.plan.quote import GroupNow, KernelNeeds, Quote, Record, quote_group

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from builder.plan.matrix import Cell
    from builder.plan.project import Project
    from builder.sources.lock import Lock


def quote_groups(project: Project, groups: Iterable[str]) -> list[Quote]:
    """Return what a driver, a channel and an architecture more would cost each group; asks nobody and starts nothing.

    Raises:
        UsageError: there is no such group.
        LockFileError: there is no lock, or it does not hold the group's kernel source.
    """
    record = _read_record(project)
    recorded = _find_places(record, project.lock)
    return [item for name in groups for item in quote_group(_read_group(project, name, recorded), record)]


def _read_record(project: Project) -> Record:
    """Return the latest build of each cell that succeeded: a failure later on takes nothing from it."""
    builds: dict[str, CellEvidence] = {}
    boots: dict[str, BootEvidence] = {}
    publishes: list[PublishEvidence] = []
    for item in project.journal.records():
        match item:
            case CellEvidence() if item.failure is None:
                builds[item.cell] = item
            case BootEvidence() if item.passed:
                boots[item.cell] = item
            case PublishEvidence():
                publishes.append(item)
    return Record(builds.values(), boots.values(), publishes)


def _find_places(record: Record, lock: Lock) -> Mapping[str, tuple[str, str]]:
    """Return source and architecture of cells on record, by the kernels of the lock."""
    places = {kernel.raw: (name, str(kernel.arch)) for name in lock.sources for kernel in lock.kernel_versions(name)}
    return {item.cell: places[item.kernel] for item in record.builds if item.kernel in places}


def _read_group(project: Project, name: str, recorded: Mapping[str, tuple[str, str]]) -> GroupNow:
    config, lock = project.config, project.lock
    cells = _cells_of(project, name)
    group = config.groups[name]
    source = lock.sources[group.source]
    arches = [arch for arch in Arch if arch not in group.arches]
    others = _cells_of(project, name, arches=tuple(arches)) if arches else []
    minors: dict[str, set[str]] = {}
    for cell in _cells_of(project, name, releases=()):
        run = source.node_kernel(cell.kernel)
        for release in run.releases if run else ():
            minors.setdefault(".".join(release.split(".")[:2]), set()).add(cell.kernel.raw)

    def needs(cells: Iterable[Cell]) -> tuple[KernelNeeds, ...]:
        return tuple(
            KernelNeeds(
                kernel=kernel.raw, arch=str(kernel.arch), downloads=source.list_downloads(kernel, project.build_arch)
            )
            for kernel in dict.fromkeys(cell.kernel for cell in cells)
        )

    return GroupNow(
        name=name, source=group.source, drivers=len(config.drivers), taken=needs(cells), others=needs(others),
        minors={minor: len(kernels) for minor, kernels in minors.items()}, boots=config.build.boot != "never",
        workers=count_workers(project), recorded=recorded,
    )  # fmt: skip


def _cells_of(project: Project, name: str, **changes: Any) -> list[Cell]:
    """Return the cells of a group if some of its settings were others; none where no kernel fits."""
    config = project.config
    if changes:
        changed = config.groups[name].model_copy(update=changes)
        config = config.model_copy(update={"groups": {**config.groups, name: changed}})
    try:
        return list(make_matrix(config, project.lock, Selector(group=name)).cells)
    except UsageError:
        if changes or name in config.groups:
            return []
        raise
