"""Opens what a run works with, in the order in which the cheapest refusal comes first; all is closed in the end."""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from builder.boot.cell import CellBooter, open_cell_booter
from builder.boot.stage import Booter
from builder.build.bases import Bases, open_bases
from builder.build.cells import Workshop
from builder.build.compile_lanes import CompileLanes
from builder.build.reporter import Reporter, choose_reporter
from builder.build.toolkits import CompileImages
from builder.drivers.git import read_commit
from builder.drivers.tree import read_files
from builder.host.disk import Demand, check_disk, check_writable
from builder.host.locks import hold_project
from builder.plan.decide import Action, Plan
from builder.plan.planning import kernels_by_source
from builder.plan.prediction import TimeToGo, longest_first
from builder.signing.access import OpenSigner, open_signers
from builder.signing.certificates import check_certificate
from builder.signing.log import SigningLog
from builder.sources.kernel_files import FactsOfKernels
from builder.store.images import (
    find_graph_root,
    hold_store,
    remove_leftovers,
)
from builder.store.jail import evict, find_rooms, remove_room
from builder.store.result_folder import remove_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from builder.drivers.commit import SourceCommit
    from builder.drivers.source import StagedDriver
    from builder.plan.planning import BootOptions, Planned
    from builder.plan.project import Project
    from builder.sources.provider import Toolkits


_WORKER_BYTES = 1024**3


# Of what a killed run left behind, this many are named.
_MOST_TOLD = 2


_WORK_DIR_BYTES = 256 * 1024**2


@contextlib.contextmanager
def open_workshop(
    project: Project, planned: Planned, err: Console, boot: BootOptions, *, compile_cache: str = "on"
) -> Iterator[Workshop]:
    """Lock the project and the store, and open all that the plan's work needs.

    ``compile_cache`` is ``on``, ``off``, or ``check``: each compile that took something from it is done again without.

    Raises:
        BusyError: another run is at work in this project.
        HostError: this machine lacks a program, or disk.
        SignerError: a key cannot sign.
    """
    with ExitStack() as held:
        held.enter_context(hold_project(project.work_dir))
        check_writable(project.cache_dir)
        held.enter_context(
            hold_store(lambda: clear_leftovers(project, partial(err.print, markup=False, soft_wrap=True)))
        )
        # Before anything is compiled: a key that cannot sign, or a missing emulator, should not cost an hour first.
        signers = _open_signers(project, planned, held)
        drivers = _stage_drivers(project, planned.plan)
        booter = _open_booter(project, planned, boot, err, held, drivers=drivers)
        toolkits = {
            source: open_toolkits(project, source, held)
            for source in {decision.cell.source for decision in planned.plan.work}
        }
        if planned.plan.of(Action.BUILD):
            err.print(f"compiles run in {project.jail.walls}", markup=False, soft_wrap=True)
        check_disk(_disk_demands(project, planned, toolkits, booter))
        for source, kernels in kernels_by_source(planned.plan).items():
            toolkits[source].prefetch(kernels)
        reporter = held.enter_context(choose_reporter(err, _time_to_go(planned)))
        bases = open_bases(project, lambda item: toolkits[item.cell.source].ensure_runtime(item.cell.kernel.arch), held)
        workshop = _make_workshop(
            project, planned, reporter, toolkits, signers, bases=bases, drivers=drivers, booter=booter
        )
        if compile_cache != "off" and planned.plan.of(Action.BUILD):
            lanes = _open_lanes(project, toolkits, drivers, reporter, is_checked=compile_cache == "check")
            held.callback(lanes.cache.trim)
            workshop = replace(workshop, lanes=lanes)
        yield workshop


def _open_lanes(
    project: Project,
    toolkits: Iterable[str],
    drivers: Mapping[str, StagedDriver],
    reporter: Reporter,
    *,
    is_checked: bool,
) -> CompileLanes:
    sources = {name: project.kernel_source(name) for name in toolkits}
    return CompileLanes(
        cache=project.compile_cache(),
        drivers={name: staged.driver for name, staged in drivers.items()},
        sources=sources,
        ensure_ccache=lambda name: sources[name].ensure_ccache(project.workplace),
        say=reporter.say,
        check_percent=100 if is_checked else project.config.build.compile_cache_check,
    )


def _time_to_go(planned: Planned) -> TimeToGo:
    cells = [decision.cell.id for decision in longest_first(planned.plan.work, planned.seconds)]
    return TimeToGo(seconds=planned.seconds, cells=cells, workers=planned.workers)


def clear_leftovers(project: Project, say: Callable[[str], None]) -> None:
    """Remove what killed runs left in the store and in the work folder."""
    if left := remove_leftovers():
        told = left[:_MOST_TOLD] if len(left) > _MOST_TOLD + 1 else left
        more = f" and {len(left) - len(told)} more" if len(told) < len(left) else ""
        say(f"removed {', '.join(told)}{more}, left behind by a run that was killed")
    for room in find_rooms(find_graph_root()):
        evict(room)
        remove_room(room)
    for scratch in (*project.work_dir.glob("cell-*"), *project.work_dir.glob("toolkits-*")):
        with contextlib.suppress(OSError):
            remove_folder(scratch)


def _open_signers(project: Project, planned: Planned, held: ExitStack) -> Sequence[OpenSigner]:
    if not planned.signers or not planned.plan.of(Action.BUILD, Action.ASSEMBLE):
        return ()
    for signer in planned.signers:
        check_certificate(signer, now=datetime.now(UTC))
    return held.enter_context(open_signers(project.config, planned.signers))


def _make_workshop(
    project: Project,
    planned: Planned,
    reporter: Reporter,
    toolkits: dict[str, Toolkits],
    signers: Sequence[OpenSigner],
    *,
    bases: Bases,
    drivers: Mapping[str, StagedDriver],
    booter: CellBooter | None,
) -> Workshop:
    settings = project.config.build
    cores = len(os.sched_getaffinity(0))
    facts = {name: open_facts(project, name, source) for name, source in toolkits.items()}
    return Workshop(
        work_dir=project.work_dir,
        drivers=drivers,
        booter=booter,
        journal=project.journal,
        reporter=reporter,
        toolkit_for=CompileImages(
            drivers={driver.name: driver for driver in project.config.drivers},
            toolkits=toolkits,
            build_arch=project.build_arch,
            pulls=bases.pulls,
        ).ensure,
        bases=bases,
        facts_for=lambda decision: facts[decision.cell.source].of(decision.cell.kernel),
        compiled=project.compiled,
        identities=planned.signers,
        signers=signers,
        signing_log=SigningLog(project.work_dir / "signing.jsonl"),
        workers=planned.workers,
        expected_s=planned.seconds,
        make_jobs=max(1, cores // planned.workers),
        jail=project.jail,
        timeout_s=settings.timeout_minutes * 60.0,
        retries=settings.retries,
        project_commit=read_project_commit(
            project, [item.driver.declaration.containerfile_file for item in drivers.values()]
        ),
    )


def read_project_commit(project: Project, containerfiles: Iterable[Path]) -> SourceCommit | None:
    """Return the commit of what the project itself says about a build: what it wants, and what was resolved."""
    if project.is_copy:
        return project.commits.get("project")
    root = project.file.parent
    named = [project.file, project.lock_file, *containerfiles]
    names = [
        file.relative_to(root).as_posix() for file in named if file.is_relative_to(root) and ".." not in file.parts
    ]
    return read_commit("project", root, read_files(root, names), is_whole=False)


def _stage_drivers(project: Project, plan: Plan) -> dict[str, StagedDriver]:
    names = {decision.cell.driver for decision in plan.work}
    staged = {name: project.drivers[name].stage(project.work_dir / "sources") for name in names}
    if not project.is_copy:
        return staged
    return {name: replace(item, commit=project.commits.get(f"driver {name}")) for name, item in staged.items()}


def _open_booter(
    project: Project,
    planned: Planned,
    options: BootOptions,
    err: Console,
    held: ExitStack,
    *,
    drivers: Mapping[str, StagedDriver],
) -> CellBooter | None:
    """Return what boots cells, if any is to be booted.

    Raises:
        HostError: what guests need is not installed.
    """
    booted = [decision for decision in planned.plan.work if decision.boot_key]
    if not booted:
        return None
    booter = Booter(
        project.cache_dir / "boot",
        mode=options.mode,
        acceleration=options.acceleration,
        from_reset=options.from_reset,
        say=lambda text: err.print(text, markup=False, soft_wrap=True),
    )
    cells = [decision.cell for decision in booted]
    booter.check((cell.kernel.arch, project.drivers[cell.driver].declaration.boot) for cell in cells)
    opened = open_cell_booter(
        project,
        booter,
        drivers=drivers,
        certificates=[signer.certificate for signer in planned.signers],
        sources={cell.source for cell in cells},
        os_image=options.os_image,
    )
    return held.enter_context(opened)


def open_facts(project: Project, source: str, toolkits: Toolkits) -> FactsOfKernels:
    """Return the facts of a source's kernels; a toolkit is made only where they were never extracted."""
    return FactsOfKernels(
        folder=project.kernel_facts_dir,
        identity_of=project.kernel_source(source).toolkit_id,
        toolkit_of=toolkits.ensure,
        jail=project.jail,
    )


def _disk_demands(
    project: Project, planned: Planned, toolkits: dict[str, Toolkits], booter: CellBooter | None
) -> list[Demand]:
    installed = download = 0
    booted = [decision.cell for decision in planned.plan.work if decision.boot_key]
    kernel_bytes = booter.missing_bytes(booted) if booter else 0
    for source, kernels in kernels_by_source(planned.plan).items():
        needed = toolkits[source].estimate_bytes(kernels)
        installed, download = installed + needed.installed, download + needed.download
    return [
        Demand(
            purpose="toolkits and images",
            folder=find_graph_root(),
            size=installed + planned.workers * _WORKER_BYTES,
        ),
        Demand(purpose="downloads", folder=project.cache_dir, size=download),
        Demand(purpose="kernels to boot", folder=project.cache_dir, size=kernel_bytes),
        Demand(purpose="logs and layers", folder=project.work_dir, size=installed + _WORK_DIR_BYTES),
    ]


def open_toolkits(project: Project, source: str, held: ExitStack) -> Toolkits:
    """Return a source's toolkits, to be closed with ``held``."""
    toolkits = project.kernel_source(source).open_toolkits(project.workplace)
    held.callback(toolkits.close)
    return toolkits
