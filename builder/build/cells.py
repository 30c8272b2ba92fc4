"""Carries out a plan: toolkits, compiles and images, several cells at once, none of which can stop the others."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from builder.build.arrange import compress_modules, move_modules
from builder.build.assemble import assemble_image, image_labels
from builder.build.compile import compile_modules, compile_with_cache
from builder.build.failing import describe_failure, judge
from builder.build.prove import prove_image, prove_result, read_folder, read_image, read_packed
from builder.build.result import CellResult, Status
from builder.build.write_image import name_folder, write_image
from builder.errors import CellError, FailureClass, FormatError
from builder.evidence.blame import is_worth_another_try
from builder.evidence.journal import Journal, make_run_id, time_stamp
from builder.evidence.records import CellEvidence, CellOutcome
from builder.host.once import Once
from builder.host.processor import measure
from builder.host.run import obey, stop_all
from builder.image.contents import LayerCache
from builder.image.labels import KEY_LABEL
from builder.plan.decide import Action, Decision, Plan, Reason
from builder.plan.prediction import longest_first
from builder.signing.modules import SigningJob, sign_result
from builder.store.build import ImageBuild
from builder.store.images import STAGE_REPOSITORY, Image, find_image, import_image, name_image, remove_images
from builder.store.last_stage import Wanted, find_change, find_obstacle
from builder.store.result_folder import write_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from builder.boot.cell import CellBooter
    from builder.build.bases import Bases
    from builder.build.compile_lanes import CompileLanes
    from builder.build.prove import Proof
    from builder.build.reporter import Reporter
    from builder.build.write_image import WrittenImage
    from builder.drivers.commit import SourceCommit
    from builder.drivers.source import StagedDriver
    from builder.errors import Failure
    from builder.evidence.records import FileRecord, ModuleRecord
    from builder.image.contents import ImageContents
    from builder.image.packed import Packing
    from builder.image.packed_layer import PackedLayer
    from builder.kmod.kernel_facts import KernelFacts
    from builder.signing.access import OpenSigner
    from builder.signing.certificates import SignerIdentity
    from builder.signing.log import SigningLog
    from builder.store.cached_compiler import CacheUse
    from builder.store.compiled import CompiledResults
    from builder.store.jail import Jail
    from builder.store.result import CompileResult

_RETRY_PAUSE_S = 2.0
_BOOT_STAGE = "boot"
_COMPILE_STAGE = "compile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where and how a run builds. ``toolkit_for`` returns the name of the image that a cell is compiled in, making it.

    ``identities`` are those that sign; ``signers`` have their keys, too, and are there where something is to be signed.
    """

    work_dir: Path
    drivers: Mapping[str, StagedDriver]
    journal: Journal
    reporter: Reporter
    toolkit_for: Callable[[Decision], str]
    bases: Bases
    facts_for: Callable[[Decision], KernelFacts]
    compiled: CompiledResults
    identities: Sequence[SignerIdentity]
    signers: Sequence[OpenSigner]
    signing_log: SigningLog
    booter: CellBooter | None
    workers: int
    jail: Jail
    make_jobs: int = 1
    timeout_s: float = 1800.0
    retries: int = 2
    project_commit: SourceCommit | None = None
    expected_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds that cells will probably take, by cell id; empty where nothing is recorded."""
    lanes: CompileLanes | None = None
    cache_uses: dict[str, CacheUse] = field(default_factory=dict)
    """What the compile cache was good for, by the key of the compile."""
    run_id: str = field(default_factory=make_run_id)
    passing_names: list[str] = field(default_factory=list)
    """Names that images have in the store until they get their own; they go when the run ends."""
    compiles: Once = field(default_factory=Once)
    layers: LayerCache = field(default_factory=LayerCache)
    is_stopping: threading.Event = field(default_factory=threading.Event)

    def log_file(self, decision: Decision) -> Path:
        return self.work_dir / "cells" / decision.cell.id / "build.log"

    def go_on(self) -> None:
        """Return, unless the run was interrupted: then nothing more is signed, booted or named.

        Raises:
            CancelledError: it was.
        """
        if self.is_stopping.is_set():
            raise CancelledError


def build_plan(plan: Plan, workshop: Workshop) -> dict[str, CellResult]:
    """Carry out a plan and return the results of its work by cell id.

    A cell that fails leaves the others alone. An interrupt stops the children and is raised again; what was
    finished until then is in the journal and in the store, and is skipped by the next run.
    """
    workshop.journal.note("run-started", run=workshop.run_id, cells=len(plan.work))
    done: dict[str, CellResult] = {}
    try:
        with ThreadPoolExecutor(workshop.workers, "cell", obey, (workshop.is_stopping,)) as pool:
            work = longest_first(plan.work, workshop.expected_s)
            futures = [pool.submit(_finish_cell, decision, workshop) for decision in work]
            try:
                for future in as_completed(futures):
                    result = future.result()
                    done[result.decision.cell.id] = result
                    workshop.reporter.cell_finished(result)
            except BaseException:
                workshop.is_stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                stop_all()
                raise
    finally:  # when no thread makes images any more
        remove_images(dict.fromkeys(workshop.passing_names))
    workshop.journal.note("run-finished", run=workshop.run_id)
    return done


def _finish_cell(decision: Decision, workshop: Workshop) -> CellResult:
    """Bring one cell to its result, trying again only where the infrastructure failed."""
    started = time.monotonic()
    workshop.reporter.cell_started(decision)
    for attempt in range(workshop.retries + 1):
        spent = Spent()
        evidence = _try_cell(decision, workshop, spent)
        if workshop.is_stopping.is_set():  # whatever came of it: its children were stopped
            raise CancelledError
        failure = evidence.failure
        if failure is None or not is_worth_another_try(failure) or attempt == workshop.retries:
            break
        workshop.reporter.cell_retried(decision, failure)
        workshop.is_stopping.wait(_RETRY_PAUSE_S * (attempt + 1))
    workshop.journal.record(evidence)
    if failure is not None and failure.code == Reason.DRIVER_EXCLUDES:
        excluded = replace(decision, action=Action.EXCLUDE, reason=Reason.DRIVER_EXCLUDES, explanation=failure.detail)
        return CellResult(
            decision=excluded, status=Status.EXCLUDED, duration_s=time.monotonic() - started, log=evidence.log,
            timings=spent.seconds, cpu=spent.cpu,
        )  # fmt: skip
    boot = workshop.journal.last_boots.get(decision.cell.id)
    return CellResult(
        decision=decision,
        status=_status_of(decision, evidence),
        duration_s=time.monotonic() - started,
        digest="" if evidence.failure else evidence.digest,
        failure=evidence.failure,
        log=evidence.log,
        timings=spent.seconds,
        cpu=spent.cpu,
        boot=boot if boot and boot.run == workshop.run_id else None,
        cache=workshop.cache_uses.get(_compile_key(decision)) if _COMPILE_STAGE in spent.seconds else None,
    )


_STATUS = {
    Action.BUILD: Status.BUILT,
    Action.ASSEMBLE: Status.ASSEMBLED,
    Action.BOOT: Status.BOOTED,
    Action.TAG: Status.TAGGED,
    Action.PROVE: Status.PROVEN,
}


def _status_of(decision: Decision, evidence: CellEvidence) -> Status:
    if evidence.failure is None:
        return _STATUS[decision.action]
    is_unknown = evidence.failure.failure_class is FailureClass.INFRASTRUCTURE and _BOOT_STAGE in evidence.timings
    return Status.UNPROVEN if is_unknown else Status.FAILED


def _passing_name(decision: Decision, workshop: Workshop) -> str:
    """Return the name of the final image until it is proven, where buildah makes it."""
    return f"{STAGE_REPOSITORY}:{decision.key}-{workshop.run_id}-unproven"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What a proof showed of a cell's image."""

    digest: str = ""
    stored: str = ""
    base_layers: Mapping[str, PackedLayer] = field(default_factory=dict)
    modules: tuple[ModuleRecord, ...] = ()
    firmware: tuple[FileRecord, ...] = ()
    signers: tuple[str, ...] = ()
    derived: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """What a cell took by stage, in the order of stages: seconds, and seconds of processors."""

    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of_image(cls, known: CellEvidence) -> Spent:
        """Return what an image took that is there; it may be booted again."""
        recorded = (known.timings, known.cpu)
        return cls(*({name: value for name, value in items.items() if name != _BOOT_STAGE} for items in recorded))


def _try_cell(decision: Decision, workshop: Workshop, spent: Spent) -> CellEvidence:
    """Try a cell once; ``spent`` gets the seconds of each stage, and those of the image's build are not forgotten."""
    log_file = workshop.log_file(decision)
    known = _find_known(decision, workshop)
    before = Spent.of_image(known) if known else Spent()
    shown = _Shown()
    if known:
        shown = _Shown(
            digest=known.digest, stored=known.stored, base_layers=known.base_layers, modules=known.modules,
            firmware=known.firmware, signers=known.signers, derived=known.derived,
        )  # fmt: skip
    failure: Failure | None = None
    started = time_stamp()
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        if decision.action in {Action.BUILD, Action.ASSEMBLE}:
            log_file.write_bytes(b"")
            shown = _make_image(decision, workshop, log_file, spent)
        else:
            shown = _finish_image(decision, workshop, log_file, spent, shown)
    except Exception as error:  # noqa: BLE001 - one cell never stops the others
        if _BOOT_STAGE in spent.seconds and workshop.booter is not None:
            log_file = workshop.booter.log_file(decision.cell)
        failure = describe_failure(error, log_file, stage=next(reversed(spent.seconds), ""))
    return CellEvidence(
        cell=decision.cell.id,
        driver=decision.cell.driver,
        kernel=decision.cell.kernel.raw,
        key=decision.key,
        outcome=CellOutcome.FAILED if failure else CellOutcome.BUILT,
        inputs=decision.inputs.by_name() if decision.inputs else {},
        run=workshop.run_id,
        finished=time_stamp(),
        started=known.started if known else started,
        timings=spent.seconds if shown.derived else before.seconds | spent.seconds,
        cpu=spent.cpu if shown.derived else before.cpu | spent.cpu,
        image=decision.image,
        digest=shown.digest,
        stored=shown.stored,
        base_layers=shown.base_layers,
        modules=shown.modules,
        firmware=shown.firmware,
        signers=shown.signers,
        commits=_read_commits(decision, workshop, known, shown),
        failure=failure,
        log=str(log_file.relative_to(workshop.work_dir)),
        derived=shown.derived,
        reason=known.reason if known else str(decision.reason),
        why=known.why if known else decision.explanation,
    )


def _read_commits(
    decision: Decision, workshop: Workshop, known: CellEvidence | None, shown: _Shown
) -> tuple[SourceCommit, ...]:
    """Return where the files that an image is made of came from; nobody knows of one whose evidence was lost."""
    if shown.derived:
        return ()
    if decision.action not in {Action.BUILD, Action.ASSEMBLE}:
        return known.commits if known else ()
    commits = (workshop.drivers[decision.cell.driver].commit, workshop.project_commit)
    return tuple(commit for commit in commits if commit is not None)


def _find_known(decision: Decision, workshop: Workshop) -> CellEvidence | None:
    """Return what is on record of a finished image: booting it or giving it its name again must not forget that."""
    known = workshop.journal.cells.get(decision.cell.id)
    is_finished = decision.action not in {Action.BUILD, Action.ASSEMBLE}
    return known if is_finished and known and known.key == decision.key else None


def _finish_image(decision: Decision, workshop: Workshop, log_file: Path, spent: Spent, known: _Shown) -> _Shown:
    """Do what is missing to an image that was made before: its proof on record, its boot test, its names."""
    image = find_image(decision.key_image)
    shown = known
    if not known.modules or known.stored != image.digest:
        shown, contents = _derive(decision, image, workshop, log_file, spent)
        _boot(decision, contents, workshop, spent)
    elif decision.boot_key:
        # Its digest is on record; to work it out again takes its base, which may be gone from here.
        _boot(decision, replace(read_image(image.id, workshop.layers), digest=known.digest), workshop, spent)
    _name_image(image, decision, workshop)
    return shown


def _derive(
    decision: Decision, image: Image, workshop: Workshop, log_file: Path, spent: Spent
) -> tuple[_Shown, ImageContents]:
    """Prove an image whose evidence is not on record; one that does not stand the proof is built by the next run."""
    with _stage("verify", decision, workshop, spent):
        packing = workshop.bases.packing(decision)
        contents, stored = read_packed(image.id, workshop.layers, packing)
        try:
            _check_key(decision, contents)
            proof = _prove(decision, contents, workshop, log_file)
        except CellError:
            remove_images([decision.key_image])
            raise
    return replace(_show(proof, stored, packing), derived=True), contents


def _check_key(decision: Decision, contents: ImageContents) -> None:
    if contents.labels.get(KEY_LABEL) != decision.key:
        sentence = f"the label {KEY_LABEL} of {decision.key_image} is not its key"
        raise CellError(FailureClass.FIT, "key-differs", sentence)


def _prove(decision: Decision, contents: ImageContents, workshop: Workshop, log_file: Path) -> Proof:
    proof = prove_image(
        contents,
        workshop.facts_for(decision),
        expected=workshop.drivers[decision.cell.driver].driver.module_names,
        compiled_for=str(decision.reused or ""),
        signers=[identity.expected for identity in workshop.identities],
    )
    judge(proof.findings, log_file)
    return proof


def _show(proof: Proof, stored: str, packing: Packing) -> _Shown:
    return _Shown(
        digest=proof.digest, stored=stored, base_layers=packing.kept, modules=proof.modules, firmware=proof.firmware,
        signers=proof.signers,
    )  # fmt: skip


def _name_image(image: Image, decision: Decision, workshop: Workshop) -> None:
    """Give an image the cell's names, unless the run was interrupted; errors are ``name_image``'s."""
    workshop.go_on()
    name_image(image, decision.key_image, decision.image)


def _make_image(decision: Decision, workshop: Workshop, log_file: Path, spent: Spent) -> _Shown:
    """Compile, prove, sign, assemble, and prove what came out; only then does the image get the cell's names."""
    staged = workshop.drivers[decision.cell.driver]
    driver = staged.driver
    final_kernel = decision.cell.kernel
    compile_kernel = decision.compile_kernel
    with tempfile.TemporaryDirectory(dir=workshop.work_dir, prefix="cell-") as scratch:
        result = _restore(decision, workshop) if decision.action is Action.ASSEMBLE else None
        with _stage("toolkit", decision, workshop, spent):
            toolkit_image = "" if result else workshop.toolkit_for(decision)
            base_image = workshop.bases.ensure(decision)
            kernel = workshop.facts_for(decision)
        image_build = ImageBuild(
            context=staged.context,
            containerfile=staged.containerfile,
            # A restored compile needs no toolkit; buildah wants a name for the stage that it then leaves out.
            arguments=driver.build_arguments(
                compile_kernel, toolkit_image=toolkit_image or base_image, base_image=base_image
            ),
            log_file=log_file,
            jail=workshop.jail,
            timeout_s=workshop.timeout_s,
        )
        if result is None:
            with _stage(_COMPILE_STAGE, decision, workshop, spent):
                result = _compile_once(decision, workshop, image_build)
        with _stage("fit", decision, workshop, spent):
            if decision.reused:
                result = move_modules(result, compile_kernel, final_kernel)
            expected, compiled_for = driver.module_names, str(decision.reused or "")
            judge(prove_result(result, kernel, expected=expected, compiled_for=compiled_for), log_file)
        if workshop.signers:
            with _stage("sign", decision, workshop, spent):
                job = SigningJob(
                    signers=workshop.signers, log=workshop.signing_log, cell=decision.cell.id, run=workshop.run_id
                )
                result = sign_result(result, job)
        with _stage("assemble", decision, workshop, spent):
            if driver.declaration.compress != "none":
                result = compress_modules(result, final_kernel, driver.declaration.compress)
            written = _write_here(result, image_build, decision, workshop, Path(scratch))
            image_id = written.id if written else _have_made(result, image_build, decision, workshop, Path(scratch))
        with _stage("verify", decision, workshop, spent):
            packing = workshop.bases.packing(decision)
            if written:
                contents, stored = read_folder(written.blobs, image_id, workshop.layers, packing)
            else:
                contents, stored = read_packed(image_id, workshop.layers, packing)
            proof = _prove(decision, contents, workshop, log_file)
        _boot(decision, contents, workshop, spent)
        if written:
            with _stage("store", decision, workshop, spent):
                workshop.passing_names.append(import_image(written.folder, log_file=log_file))
    _name_image(Image(id=image_id, digest=stored), decision, workshop)
    return _show(proof, stored, packing)


def _write_here(
    result: CompileResult, image_build: ImageBuild, decision: Decision, workshop: Workshop, scratch: Path
) -> WrittenImage | None:
    """Write the final image, unless only buildah can make it: then the log says why, and nothing is returned."""
    wanted = Wanted(
        arguments=image_build.of_kernel(decision.cell.kernel).arguments,
        labels=image_labels(decision, workshop.identities),
        arch=decision.cell.kernel.arch.oci,
    )
    obstacle = find_change(image_build.containerfile.read_text(encoding="utf-8", errors="replace"))
    if not obstacle:
        base = workshop.bases.read(decision, workshop.layers)
        obstacle = find_obstacle(base, wanted, result)
    if obstacle:
        with workshop.log_file(decision).open("a") as log:
            log.write(f"the final image is made by buildah: {obstacle}\n")
        return None
    return write_image(scratch / name_folder(decision.key, workshop.run_id), result, base, wanted)


def _have_made(
    result: CompileResult, image_build: ImageBuild, decision: Decision, workshop: Workshop, scratch: Path
) -> str:
    """Have buildah make the final image, and return its id; errors are those of ``assemble_image``."""
    tree = scratch / "modules"
    write_result(result, tree)
    name = _passing_name(decision, workshop)
    workshop.passing_names.append(name)
    return assemble_image(image_build, decision, tree, name=name, signers=workshop.identities)


def _compile_once(decision: Decision, workshop: Workshop, image_build: ImageBuild) -> CompileResult:
    """Compile, or take what another cell of this run compiled from the same inputs; errors of the driver, too."""
    made: CompileResult | None = None
    compile_here = partial(_compile, decision, workshop, image_build)

    def compile_and_keep() -> CellError | None:
        nonlocal made
        try:
            made = compile_here()
        except CellError as error:
            if error.failure.failure_class is FailureClass.INFRASTRUCTURE:
                raise
            return error
        workshop.compiled.keep(_compile_key(decision), made)
        return None

    # Results of all cells at once would fill the memory, so only that there is one is remembered.
    error = workshop.compiles.get(_compile_key(decision), compile_and_keep)
    if error is not None:
        raise error
    return made or _restore(decision, workshop) or compile_here()


def _compile(decision: Decision, workshop: Workshop, image_build: ImageBuild) -> CompileResult:
    """Compile, with the cache where it helps; now and then also without it, and then that is what counts."""
    may_exclude = workshop.drivers[decision.cell.driver].driver.may_exclude
    without_cache = partial(compile_modules, image_build, make_jobs=workshop.make_jobs, may_exclude=may_exclude)
    cached = workshop.lanes.find(decision) if workshop.lanes else None
    if workshop.lanes is None or cached is None:
        return without_cache()
    result, use = compile_with_cache(
        image_build, cached.lane, cached.ccache, make_jobs=workshop.make_jobs, may_exclude=may_exclude
    )
    if use.damaged:
        workshop.reporter.say(
            f"{decision.cell.id}: {use.damaged} of the compile cache's entries had been changed since they were "
            "kept, and were not used"
        )
    if use.refused:
        workshop.reporter.say(f"{decision.cell.id}: what it left in the compile cache is not kept: {use.refused}")
    if use.hits and workshop.lanes.is_to_be_checked():
        again = without_cache()
        use = replace(use, checked="equal" if again == result else "differs")
        if again != result:
            cached.lane.drop()
            workshop.reporter.say(
                f"{decision.cell.id}: compiled without the compile cache it is another module, so what was compiled "
                "without is used, and its lane of the cache was removed. Either somebody changed the cache, or no two "
                "compiles of this driver are equal"
            )
        result = again
    workshop.cache_uses[_compile_key(decision)] = use
    return result


def _boot(decision: Decision, contents: ImageContents, workshop: Workshop, spent: Spent) -> None:
    if decision.boot_key and workshop.booter is not None:
        with _stage(_BOOT_STAGE, decision, workshop, spent):
            workshop.booter.test(decision, contents, workshop.run_id)


def _restore(decision: Decision, workshop: Workshop) -> CompileResult | None:
    """Return the kept result of a compile; one that was damaged is compiled again."""
    try:
        return workshop.compiled.restore(_compile_key(decision))
    except FormatError as error:
        workshop.reporter.say(error.message)
        return None


def _compile_key(decision: Decision) -> str:
    if decision.inputs is None:
        raise ValueError(decision)
    return decision.inputs.compile_key


@contextlib.contextmanager
def _stage(name: str, decision: Decision, workshop: Workshop, spent: Spent) -> Iterator[None]:
    workshop.go_on()
    workshop.reporter.cell_stage(decision, name)
    started = time.monotonic()
    with measure() as meter:
        try:
            yield
        finally:
            spent.seconds[name] = round(time.monotonic() - started, 3)
            spent.cpu[name] = round(meter.read(), 3)
