"""Reads how kernels' symbols differ: out of what builds kept of kernels and of their own compiles. Starts nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from builder.errors import KmodsmithError
from builder.kmod.compat import DriverDrift, compare_symbols, find_drift
from builder.kmod.fit import place_modules
from builder.plan.decide import compile_key_of
from builder.site.drift import KernelStep, Lineage, names_in
from builder.site.failures import find_causes, find_source_lines
from builder.sources.kernel_files import read_kernel_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from builder.kernel import KernelVersion
    from builder.kmod.compat import Drift
    from builder.kmod.fit import PlacedModule
    from builder.kmod.kernel_facts import KernelFacts
    from builder.plan.project import Project
    from builder.site.facts import SiteCell, SiteFacts
    from builder.site.failures import Cause

_Kernel = tuple[str, str]
"""Source and kernel."""


def read_lineages(project: Project, cells: Sequence[SiteCell]) -> tuple[Lineage, ...]:
    """Return how the kernels of cells change from one to the next, as far as their symbols are kept on this machine."""
    asked = {(cell.source, cell.kernel) for cell in cells}
    by_kernel: dict[_Kernel, list[SiteCell]] = {}
    for cell in cells:
        by_kernel.setdefault((cell.source, cell.kernel), []).append(cell)
    families: dict[tuple[str, str, str, str], list[KernelVersion]] = {}
    for source in project.lock.sources:
        for kernel in project.lock.kernel_versions(source):
            if (source, kernel.raw) in asked:
                family = (source, kernel.series, str(kernel.variant), str(kernel.arch))
                families.setdefault(family, []).append(kernel)
    found = []
    for (source, series, variant, arch), kernels in families.items():
        steps, unknown = _walk(project, source, kernels, by_kernel)
        if steps:
            found.append(
                Lineage(source=source, series=series, variant=variant, arch=arch, steps=steps, unknown=unknown)
            )
    return tuple(found)


def _walk(
    project: Project, source: str, kernels: Sequence[KernelVersion], cells: Mapping[_Kernel, Sequence[SiteCell]]
) -> tuple[tuple[KernelStep, ...], tuple[str, ...]]:
    """Compare each kernel that is known with the one before; no more than two are held at once."""
    steps, unknown = [], []
    before: KernelFacts | None = None
    modules: Mapping[str, list[PlacedModule]] = {}
    for kernel in kernels:
        after = _read_kept(project, source, kernel)
        if after is None:
            unknown.append(kernel.raw)
            continue
        own = dict(_read_modules(project, cells.get((source, kernel.raw), ())))
        if before is not None:
            with suppress(KmodsmithError):  # symbols without a CRC: somebody changed what is kept
                steps.append(_compare(before, modules, after, own))
        before, modules = after, own
    return tuple(steps), tuple(unknown)


def _compare(
    before: KernelFacts,
    modules: Mapping[str, list[PlacedModule]],
    after: KernelFacts,
    own: Mapping[str, list[PlacedModule]],
) -> KernelStep:
    drivers = {}
    for driver in sorted({*modules, *own}):
        used, kernel = (modules[driver], before) if driver in modules else (own[driver], after)
        symbols = tuple(find_drift(used, before, after))
        drivers[driver] = DriverDrift(compiled_for=kernel.kernel.raw, symbols=symbols)
    return KernelStep(
        before=before.kernel.raw, after=after.kernel.raw, counts=before.symbols.compare(after.symbols), drivers=drivers
    )


def _read_kept(project: Project, source: str, kernel: KernelVersion) -> KernelFacts | None:
    """Return what a build once took out of a kernel's toolkit; None where none did, or it is damaged."""
    try:
        folder = project.kernel_facts_dir / project.kernel_source(source).toolkit_id(kernel)
        return read_kernel_facts(folder, kernel) if folder.is_dir() else None
    except KmodsmithError:
        return None


def _read_modules(project: Project, cells: Sequence[SiteCell]) -> Iterator[tuple[str, list[PlacedModule]]]:
    """Yield the modules that are kept of cells by driver: as they were compiled, before anybody signed them."""
    for cell in cells:
        if cell.evidence is None or cell.evidence.failure or not cell.evidence.inputs.get("toolkit"):
            continue
        try:
            result = project.compiled.restore(compile_key_of(cell.evidence.inputs))
        except KmodsmithError:
            continue
        if result and (placed := place_modules(result.modules())[0]):
            yield cell.driver, placed


def read_changes(
    project: Project, facts: SiteFacts, read_log: Callable[[SiteCell], str]
) -> dict[str, tuple[Drift, ...]]:
    """Return, by the first cell of a cause of failure, what the kernel changed of what the compiler complains about.

    Args:
        project: its lock and what is kept of kernels.
        facts: cells and evidence.
        read_log: returns the log of a cell's build.
    """
    found = {}
    for cause in find_causes(facts):
        cell = cause.cells[0]
        if cause.before and (changes := _read_change(project, cause, read_log(cell))):
            found[cell.id] = tuple(changes)
    return found


def _read_change(project: Project, cause: Cause, log: str) -> list[Drift]:
    source = cause.cells[0].source
    if source not in project.lock.sources:
        return []
    kernels = {kernel.raw: kernel for kernel in project.lock.kernel_versions(source)}
    kept = [
        _read_kept(project, source, kernels[name]) if name in kernels else None for name in (cause.before, cause.after)
    ]
    if kept[0] is None or kept[1] is None:
        return []
    names = names_in((cause.failure.detail, find_source_lines(log, cause.failure)))
    try:
        return compare_symbols(names, kept[0], kept[1])
    except KmodsmithError:
        return []
