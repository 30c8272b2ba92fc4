"""Compares kernels by the modules that are built: what the verbs compat and drift do."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from builder.build.fit_image import find_facts, open_source_facts
from builder.build.prove import read_image
from builder.errors import UsageError
from builder.image.contents import LayerCache
from builder.kernel import parse_kernel_version
from builder.kmod.compat import DriverDrift, find_drift, judge
from builder.plan.planning import NO_BOOTS, plan_project
from builder.store.images import hold_store

if TYPE_CHECKING:
    from builder.kmod.compat import Compatibility
    from builder.kmod.fit import PlacedModule
    from builder.plan.decide import Decision
    from builder.plan.matrix import Selector
    from builder.plan.project import Project


def compare_kernels(project: Project, selector: Selector) -> dict[str, list[Compatibility]]:
    """Judge, for each driver, every built image of the selection for every kernel of the selection.

    Raises:
        UsageError: nothing of the selection is built.
    """
    with ExitStack() as held:
        held.enter_context(hold_store())
        built = _read_built(project, selector)
        verdicts: dict[str, list[Compatibility]] = {}
        facts = {source: open_source_facts(project, source, held) for source in {item.cell.source for item, _ in built}}
        for kernel, source in dict.fromkeys((item.cell.kernel, item.cell.source) for item, _ in built):
            known = facts[source].of(kernel)
            for item, modules in built:
                verdict = judge(modules, item.cell.kernel.raw, known)
                verdicts.setdefault(item.cell.driver, []).append(verdict)
    return verdicts


def compare_two(project: Project, selector: Selector, before: str, after: str) -> dict[str, DriverDrift]:
    """Return, for each driver, how the symbols that it uses differ between two kernels of the lock.

    Raises:
        UsageError: a kernel is not one, or the driver is built for neither of the two.
        LockFileError: a kernel is in no source of the lock.
    """
    kernels = [parse_kernel_version(before), parse_kernel_version(after)]
    with ExitStack() as held:
        held.enter_context(hold_store())
        known = [find_facts(project, kernel, held) for kernel in kernels]
        facts = [found.of(kernel) for found, kernel in zip(known, kernels, strict=True)]
        built = [(item, modules) for item, modules in _read_built(project, selector) if item.cell.kernel in kernels]
        if not built:
            raise UsageError(f"no driver is built for {before} or {after}, so which symbols it uses is not known")
        drifts = {
            item.cell.driver: DriverDrift(compiled_for=item.cell.kernel.raw, symbols=tuple(find_drift(modules, *facts)))
            for item, modules in reversed(built)
        }
        gone = {name for drift in drifts.values() for name in drift.gone}
        forms = [found.find_forms(kernel, gone) for found, kernel in zip(known, kernels, strict=True)]
        return {driver: drift.with_forms(*forms) for driver, drift in drifts.items()}


def _read_built(project: Project, selector: Selector) -> list[tuple[Decision, list[PlacedModule]]]:
    planned = plan_project(project, selector, boot=NO_BOOTS)
    cache = LayerCache()
    built = []
    for decision in planned.plan.decisions:
        if decision.key and decision.key_image in planned.images:
            contents = read_image(decision.key_image, cache)
            placed, _ = contents.modules
            built.append((decision, placed))
    if not built:
        raise UsageError("none of these cells is built yet", hint="run 'nox -s build' with the same selection first")
    return built
