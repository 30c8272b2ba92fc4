"""The program as a short list of steps: read, decide, act, tell. The verbs of the command line call these."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from builder.build.result import result_without_work
from builder.errors import ConfigError, LockFileError, UsageError
from builder.host.disk import Demand, check_disk, check_writable
from builder.host.locks import hold_project
from builder.host.memory import available_memory
from builder.kernel import parse_kernel_version
from builder.plan.decide import Action, Elsewhere, Plan, Reason, make_plan, predict_seconds
from builder.plan.discovery import discover_project
from builder.plan.matrix import Selector, make_matrix
from builder.plan.project import BootWish
from builder.sources.provider import OpenShiftSource
from builder.store.images import (
    TOOLKIT_PREFIX,
    Image,
    find_graph_root,
    hold_store,
    list_images,
    read_digest,
    remove_images,
    remove_leftovers,
)
from builder.store.jail import evict, find_rooms, remove_room
from builder.store.result_folder import remove_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from builder.boot.cell import CellBooter
    from builder.build.cells import Workshop
    from builder.build.reporter import Reporter
    from builder.build.result import CellResult
    from builder.drivers.source import StagedDriver
    from builder.kernel import Arch, KernelVersion
    from builder.plan.decide import Decision
    from builder.plan.project import Project
    from builder.signing.access import OpenSigner, SignerIdentity
    from builder.sources.debian.toolkit import Toolkits
    from builder.sources.kernel_files import FactsOfKernels
    from builder.sources.provider import KernelSource

_log = logging.getLogger(__name__)

FindElsewhere = Callable[["Project", Sequence["Decision"]], dict[str, Elsewhere]]
"""Asks registries for cells that are not built here: ``builder.publish.elsewhere.find_elsewhere``."""
_WORKER_BYTES = 1024**3
_WORK_DIR_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan with the state of the store that it was made from, and what it will probably cost."""

    plan: Plan
    signers: Sequence[SignerIdentity]
    images: dict[str, Image]
    workers: int
    predicted_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BootOptions:
    """What the command line says of boot tests; ``when`` is a policy, or None for that of versions.yaml."""

    when: str | None = None
    mode: str = "auto"
    acceleration: str = "auto"
    os_image: str | None = None

    def policy(self, project: Project) -> str:
        return self.when or project.config.build.boot

    def wish(self, policy: str) -> BootWish | None:
        if policy == "never":
            return None
        if self.os_image is None:
            return BootWish(mode=self.mode)
        if self.os_image not in list_images():
            raise UsageError(
                f"the container store has no image {self.os_image}",
                hint="'buildah images' lists full names; pull it first",
            )
        return BootWish(mode=self.mode, os_image_digest=read_digest(self.os_image))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    results: Sequence[CellResult]
    wall_s: float
    run_id: str


_NO_OPTIONS = BootOptions()
NO_BOOTS = BootOptions(when="never")


def plan_project(
    project: Project,
    selector: Selector,
    *,
    force: bool = False,
    jobs: int | None = None,
    boot: BootOptions = _NO_OPTIONS,
    elsewhere: FindElsewhere | None = None,
) -> Planned:
    """Read everything and decide; starts no process but one listing of the container store.

    With ``elsewhere``, what is not built here is asked for in registries, and what they have is left alone.
    """
    policy = boot.policy(project)
    matrix = make_matrix(project.config, project.lock, selector)
    signers = read_signers(project, selector)
    images = list_images()
    ids = {name: image.id for name, image in images.items()}
    decide = partial(
        make_plan,
        project.candidates(matrix.cells, signers, boot=boot.wish(policy)),
        matrix.left_out,
        evidence=project.journal.cells,
        images=ids,
        digests={name: image.digest for name, image in images.items()},
        compiled=project.compiled.keys(),
        boots=project.journal.boots,
        force=force,
        boot_always=policy == "always",
    )
    plan = decide()
    if elsewhere and not force and (missing := plan.of(Action.BUILD, Action.ASSEMBLE)):
        plan = decide(elsewhere=elsewhere(project, missing))
    workers = choose_workers(project, plan, jobs)
    predicted_s = predict_seconds(
        plan,
        project.journal.cells.values(),
        missing_toolkits=len(_toolkit_names(project, plan) - images.keys()),
        workers=workers,
        boots=project.journal.boots.values(),
    )
    return Planned(plan=plan, signers=signers, images=images, workers=workers, predicted_s=predicted_s)


def read_signers(project: Project, selector: Selector) -> tuple[SignerIdentity, ...]:
    """Return the signers of the selected group; reads no certificate where there are none, or none may sign.

    A certificate that may not sign now is told once, and stops only what signs (``_open_signers``).

    Raises:
        SignerError: the group demands something else, or a certificate cannot be read.
    """
    group = selector.group or project.config.default_group
    settings = project.config.groups.get(group)
    if settings is None or project.untrusted or (not settings.signers and settings.signing == "optional"):
        return ()
    from builder.signing.access import check_policy, find_complaints, read_identities  # noqa: PLC0415 - slow to import

    identities = read_identities(project.config, group)
    check_policy(project.config, group, identities)
    for complaint in find_complaints(identities, now=datetime.now(UTC)):
        if complaint not in project.told:
            project.told.add(complaint)
            _log.warning("%s: nothing new can be signed by it", complaint)
    return identities


def choose_workers(project: Project, plan: Plan, jobs: int | None) -> int:
    """Return how many cells to build at once: as asked, else by cores, available memory and work."""
    settings = project.config.build
    wanted = jobs or (settings.jobs if isinstance(settings.jobs, int) else None)
    if wanted is None:
        by_memory = available_memory() // (settings.memory_per_job * 1024**2)
        # One more than there are cores: a cell waits for the disk for a tenth of its time.
        wanted = min(len(os.sched_getaffinity(0)) + 1, by_memory)
    return max(1, min(wanted, len(plan.work)))


def build_project(
    project: Project,
    selector: Selector,
    err: Console,
    *,
    force: bool,
    jobs: int | None,
    locked: bool,
    boot: BootOptions = _NO_OPTIONS,
    elsewhere: FindElsewhere | None = None,
) -> BuildReport:
    """Plan and build. A plan without work takes no lock and starts no container.

    When the archive no longer serves a package of the lock, the lock is refreshed once and the cells that missed
    it are built again, unless ``locked`` forbids it.
    """
    started = time.monotonic()
    planned = plan_project(project, selector, force=force, jobs=jobs, boot=boot, elsewhere=elsewhere)
    if not planned.plan.work:
        return BuildReport(results=_results(planned, {}), wall_s=time.monotonic() - started, run_id="")
    run_id, results = _build_locked(project, planned, err, boot)
    if not locked and any(_is_gone(result) for result in results):
        err.print("the archive no longer serves packages that versions.lock.yaml names: refreshing it", markup=False)
        discovery = discover_project(project)
        for line in (*discovery.changes, *discovery.problems):
            err.print(f"  {line}", markup=False)
        project = project.reread()
        planned = plan_project(project, selector, jobs=jobs, boot=boot, elsewhere=elsewhere)
        run_id, results = _build_locked(project, planned, err, boot)
    return BuildReport(results=results, wall_s=time.monotonic() - started, run_id=run_id)


def boot_project(
    project: Project, selector: Selector, err: Console, *, jobs: int | None, boot: BootOptions
) -> BuildReport:
    """Boot every selected cell that is built, whether it passed before or not; builds nothing."""
    started = time.monotonic()
    planned = plan_project(project, selector, jobs=jobs, boot=replace(boot, when="always"))
    decisions = tuple(_refuse_unbuilt(decision) for decision in planned.plan.decisions)
    planned = replace(planned, plan=Plan(decisions=decisions))
    planned = replace(planned, workers=choose_workers(project, planned.plan, jobs))
    if not planned.plan.work:
        return BuildReport(results=_results(planned, {}), wall_s=time.monotonic() - started, run_id="")
    run_id, results = _build_locked(project, planned, err, boot)
    return BuildReport(results=results, wall_s=time.monotonic() - started, run_id=run_id)


def booted_arches(project: Project) -> tuple[Arch, ...]:
    """Return the architectures whose kernels a build without selectors boots; none where nothing is configured."""
    try:
        config = project.config
    except ConfigError:  # what builds will say so; a doctor that does not start is of no help
        return ()
    group = config.groups[config.default_group]
    return () if config.build.boot == "never" else group.arches


def _refuse_unbuilt(decision: Decision) -> Decision:
    if decision.action not in {Action.BUILD, Action.ASSEMBLE}:
        return decision
    sentence = f"it is not built ({decision.explanation}): run 'nox -s build' with the same selection first"
    return replace(decision, action=Action.REFUSE, reason=Reason.NOT_BUILT, explanation=sentence)


def prune_project(project: Project, *, dry_run: bool) -> list[str]:
    """Remove kmodsmith's images and compile results that no cell of any group needs any more; returns their names.

    Names that people use (``localhost/<driver>:...``) are theirs and stay.

    Raises:
        BusyError: another run is at work in this project, or uses the container store.
    """
    if dry_run:
        return _remove_superfluous(project, dry_run=True)
    with hold_project(project.work_dir), hold_store(alone=True):
        return _remove_superfluous(project, dry_run=False)


def _remove_superfluous(project: Project, *, dry_run: bool) -> list[str]:
    needed: set[str] = set()
    compiles: set[str] = set()
    for group in project.config.groups:
        decisions = plan_project(project, Selector(group=group), boot=NO_BOOTS).plan.decisions
        needed |= {decision.key_image for decision in decisions if decision.key}
        compiles |= {decision.inputs.compile_key for decision in decisions if decision.inputs}
    # A source that versions.yaml does not name any more is needed by no cell.
    for name in project.config.sources.keys() & project.lock.sources.keys():
        for kernel in map(parse_kernel_version, project.lock.sources[name].kernels):
            needed |= _images_of(project.kernel_source(name), kernel)
    superfluous = sorted(name for name in list_images() if name.startswith(TOOLKIT_PREFIX) and name not in needed)
    results = sorted(project.compiled.keys() - compiles)
    if not dry_run:
        remove_images(superfluous)
        for key in results:
            project.compiled.drop(key)
    return [*superfluous, *(f"result of compile {key}" for key in results)]


def _images_of(source: KernelSource, kernel: KernelVersion) -> set[str]:
    """Return toolkit and base image of a kernel, as far as there are any for this machine."""
    names = set()
    with contextlib.suppress(LockFileError):
        names.add(source.toolkit_image(kernel))
    with contextlib.suppress(LockFileError):
        names.add(source.base_image(kernel.arch))
    return names


def _build_locked(project: Project, planned: Planned, err: Console, boot: BootOptions) -> tuple[str, list[CellResult]]:
    from builder.build.cells import build_plan  # noqa: PLC0415 - see open_toolkits
    from builder.build.reporter import choose_reporter  # noqa: PLC0415

    with ExitStack() as held:
        held.enter_context(hold_project(project.work_dir))
        check_writable(project.cache_dir)
        held.enter_context(hold_store(lambda: _clear_leftovers(project, err)))
        # Before anything is compiled: a key that cannot sign, or a missing emulator, should not cost an hour first.
        signers = _open_signers(project, planned, held)
        drivers = _stage_drivers(project, planned.plan)
        booter = _open_booter(project, planned, boot, err, held, drivers=drivers)
        toolkits = {
            source: open_toolkits(project, source, held)
            for source in {decision.cell.source for decision in planned.plan.work}
        }
        if planned.plan.of(Action.BUILD):
            err.print(f"compiles run in {project.jail.walls}", markup=False)
        check_disk(_disk_demands(project, planned, toolkits, booter))
        for source, kernels in _kernels_by_source(planned.plan).items():
            toolkits[source].prefetch(kernels)
        reporter = held.enter_context(choose_reporter(err, len(planned.plan.work)))
        shop = _open_workshop(project, planned, reporter, toolkits, signers, drivers=drivers, booter=booter)
        return shop.run_id, _results(planned, build_plan(planned.plan, shop))


def _clear_leftovers(project: Project, err: Console) -> None:
    """Remove what killed runs left in the store and in the work folder."""
    for leftover in remove_leftovers():
        err.print(f"removed {leftover}, left behind by a run that was killed", markup=False)
    for room in find_rooms(find_graph_root()):
        evict(room)
        remove_room(room)
    for scratch in (*project.work_dir.glob("cell-*"), *project.work_dir.glob("toolkits-*")):
        with contextlib.suppress(OSError):
            remove_folder(scratch)


def open_toolkits(project: Project, source: str, held: ExitStack) -> Toolkits:
    """Return a source's toolkits, to be closed with ``held``."""
    from builder.sources.debian.toolkit import DebianToolkits  # noqa: PLC0415 - a build that is up to date never needs it

    named = project.kernel_source(source)
    toolkits: Toolkits
    if isinstance(named, OpenShiftSource):
        toolkits = _open_pulled_toolkits(project, named)
    else:
        toolkits = DebianToolkits(named, cache_dir=project.cache_dir, work_dir=project.work_dir)
    held.callback(toolkits.close)
    return toolkits


def _open_pulled_toolkits(project: Project, source: OpenShiftSource) -> Toolkits:
    from builder.registry.pull import open_puller  # noqa: PLC0415 - see open_toolkits
    from builder.sources.debian.toolkit import DebianToolkits  # noqa: PLC0415
    from builder.sources.openshift.toolkit import PulledToolkits  # noqa: PLC0415 - see open_toolkits

    runtime = None
    if source.runtime is not None:
        runtime = DebianToolkits(source.runtime, cache_dir=project.cache_dir, work_dir=project.work_dir)
    return PulledToolkits(
        source,
        open_puller(
            project.config.registry, project.file.parent, cache_dir=project.cache_dir, work_dir=project.work_dir
        ),
        runtime,
    )


def _open_signers(project: Project, planned: Planned, held: ExitStack) -> Sequence[OpenSigner]:
    if not planned.signers or not planned.plan.of(Action.BUILD, Action.ASSEMBLE):
        return ()
    from builder.signing.access import check_certificate, open_signers  # noqa: PLC0415 - see read_signers

    for signer in planned.signers:
        check_certificate(signer, now=datetime.now(UTC))
    return held.enter_context(open_signers(project.config, planned.signers))


def _open_workshop(
    project: Project,
    planned: Planned,
    reporter: Reporter,
    toolkits: dict[str, Toolkits],
    signers: Sequence[OpenSigner],
    *,
    drivers: Mapping[str, StagedDriver],
    booter: CellBooter | None,
) -> Workshop:
    from builder.build.cells import Workshop  # noqa: PLC0415 - see open_toolkits
    from builder.signing.modules import SigningLog  # noqa: PLC0415

    settings = project.config.build
    cores = len(os.sched_getaffinity(0))
    facts = {name: open_facts(project, name, source) for name, source in toolkits.items()}
    return Workshop(
        work_dir=project.work_dir,
        drivers=drivers,
        booter=booter,
        journal=project.journal,
        reporter=reporter,
        toolkit_for=lambda source, kernel: toolkits[source].ensure(kernel),
        base_for=lambda decision: toolkits[decision.cell.source].ensure_runtime(decision.cell.kernel.arch),
        facts_for=lambda decision: facts[decision.cell.source].of(decision.cell.kernel),
        compiled=project.compiled,
        identities=planned.signers,
        signers=signers,
        signing_log=SigningLog(project.work_dir / "signing.jsonl"),
        workers=planned.workers,
        make_jobs=max(1, cores // planned.workers),
        jail=project.jail,
        timeout_s=settings.timeout_minutes * 60.0,
        retries=settings.retries,
    )


def _stage_drivers(project: Project, plan: Plan) -> dict[str, StagedDriver]:
    names = {decision.cell.driver for decision in plan.work}
    return {name: project.drivers[name].stage(project.work_dir / "sources") for name in names}


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
    from builder.boot.cell import open_cell_booter  # noqa: PLC0415 - see open_toolkits
    from builder.boot.stage import Booter  # noqa: PLC0415

    booter = Booter(
        project.cache_dir / "boot",
        mode=options.mode,
        acceleration=options.acceleration,
        say=lambda text: err.print(text, markup=False),
    )
    cells = [decision.cell for decision in booted]
    booter.check((cell.kernel.arch, project.drivers[cell.driver].boot.mode) for cell in cells)
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
    from builder.sources.kernel_files import FactsOfKernels  # noqa: PLC0415 - see open_toolkits

    return FactsOfKernels(
        folder=project.cache_dir / "kernels",
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
    for source, kernels in _kernels_by_source(planned.plan).items():
        estimate = toolkits[source].estimate_bytes(kernels)
        installed, download = installed + estimate[0], download + estimate[1]
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


def _kernels_by_source(plan: Plan) -> dict[str, list[KernelVersion]]:
    """Return the kernels that are built for, in the order in which their cells come up."""
    kernels: dict[str, dict[KernelVersion, None]] = {}
    for decision in plan.of(Action.BUILD):
        kernels.setdefault(decision.cell.source, {})[decision.cell.kernel] = None
    return {source: list(ordered) for source, ordered in kernels.items()}


def _toolkit_names(project: Project, plan: Plan) -> set[str]:
    return {
        project.kernel_source(source).toolkit_image(kernel)
        for source, kernels in _kernels_by_source(plan).items()
        for kernel in kernels
    }


def _results(planned: Planned, done: dict[str, CellResult]) -> list[CellResult]:
    """Return a result for every decision, in the plan's order; digests of finished cells come from their images."""
    results = []
    for decision in planned.plan.decisions:
        image = planned.images.get(decision.key_image)
        digest = image.digest if image else ""
        results.append(done.get(decision.cell.id) or result_without_work(decision, digest))
    return results


def _is_gone(result: CellResult) -> bool:
    return result.failure is not None and result.failure.code == "package-gone"
