"""Removes what no cell of any group needs any more."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from builder.build.bases import names_of_bases
from builder.build.toolkits import names_of_own_toolkits
from builder.errors import LockFileError
from builder.host.locks import hold_project
from builder.kernel import Arch
from builder.plan.decide import CELL_REPOSITORY, CellInputs
from builder.plan.matrix import Selector
from builder.plan.planning import NO_BOOTS, plan_project
from builder.store.images import (
    TOOLKIT_PREFIX,
    hold_store,
    list_images,
    remove_images,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from builder.kernel import KernelVersion
    from builder.plan.decide import Decision
    from builder.plan.project import Project
    from builder.sources.provider import KernelSource


# Lanes are shared by projects, and none knows which of them another one needs: they go when nobody came for so long.
_LANE_UNUSED_S = 60 * 24 * 3600


def prune_project(project: Project, *, dry_run: bool, further: Callable[[], Collection[str]]) -> list[str]:
    """Remove kmodsmith's images and compile results that no cell of any group needs any more; returns their names.

    ``further`` returns names of images that are needed by what is no cell; it is asked while nobody else builds. Names
    that people use (``localhost/<driver>:...``) are theirs and stay.

    Raises:
        BusyError: another run is at work in this project, or uses the container store.
    """
    if dry_run:
        return _remove_superfluous(project, dry_run=True, further=further)
    with hold_project(project.work_dir), hold_store(alone=True):
        return _remove_superfluous(project, dry_run=False, further=further)


def _remove_superfluous(project: Project, *, dry_run: bool, further: Callable[[], Collection[str]]) -> list[str]:
    needed: set[str] = set()
    compiles: set[str] = set()
    for group in project.config.groups:
        decisions = plan_project(project, Selector(group=group), boot=NO_BOOTS).plan.decisions
        needed |= {decision.key_image for decision in decisions if decision.key}
        compiles |= {decision.inputs.compile_key for decision in decisions if decision.inputs}
        for last in _last_inputs(project, decisions):
            needed.add(f"{CELL_REPOSITORY}:{last.key}")
            compiles.add(last.compile_key)
    needed |= names_of_bases(project, iter(Arch)) | set(further())
    needed.update(names_of_own_toolkits(project))
    wanted = {driver.build_packages for driver in project.config.drivers} | {()}
    # A source that versions.yaml does not name any more is needed by no cell.
    for name in project.config.sources.keys() & project.lock.sources.keys():
        for kernel in project.lock.sources[name].kernels:
            needed |= _images_of(project.kernel_source(name), kernel, wanted)
    superfluous = sorted(name for name in list_images() if name.startswith(TOOLKIT_PREFIX) and name not in needed)
    results = sorted(project.compiled.keys() - compiles)
    cache = project.compile_cache()
    lanes = [lane for lane in cache.sizes() if lane.used < time.time() - _LANE_UNUSED_S]
    if not dry_run:
        remove_images(superfluous)
        for key in results:
            project.compiled.drop(key)
        for lane in lanes:
            cache.drop(lane.key)
    told = [f"lane of the compile cache {lane.key[:12]}, of {lane.driver}, {lane.size >> 20} MiB" for lane in lanes]
    return [*superfluous, *(f"result of compile {key}" for key in results), *told]


def _last_inputs(project: Project, decisions: Iterable[Decision]) -> Iterator[CellInputs]:
    """Yield what cells were made of that are refused now: unknown is not absent, and most refusals end (rule 4)."""
    for decision in decisions:
        evidence = project.journal.cells.get(decision.cell.id)
        if decision.key or decision.is_left_out_for_good or evidence is None:
            continue
        with contextlib.suppress(TypeError):  # an older version, or none on record
            yield CellInputs(**evidence.inputs)


def _images_of(source: KernelSource, kernel: KernelVersion, wanted: Iterable[tuple[str, ...]]) -> set[str]:
    """Return toolkits and base image of a kernel, as far as there are any for this machine."""
    names = set()
    for packages in wanted:
        with contextlib.suppress(LockFileError):
            names.add(source.compile_image(kernel, packages))
    with contextlib.suppress(LockFileError):
        names.add(source.base_image(kernel.arch))
    return names
