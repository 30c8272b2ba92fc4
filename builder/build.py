"""Carries out a plan: toolkits, compiles and images, several cells at once, none of which can stop the others."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
import traceback
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from builder.arrange import compress_modules, move_modules
from builder.assemble import assemble_image
from builder.blame import describe_error, is_understood, is_worth_another_try
from builder.compile import compile_modules
from builder.errors import FailureClass, FormatError
from builder.evidence import CellEvidence, Journal, Outcome
from builder.finding import raise_findings
from builder.image_build import ImageBuild
from builder.image_files import LayerCache
from builder.kernel import parse_kernel_version
from builder.plan import Action, Decision, Plan
from builder.prove import prove_image, prove_result, read_image
from builder.result import CellResult, Status
from builder.result_folder import write_result
from builder.run import stop_all
from builder.sign import SigningJob, sign_result
from builder.store import STAGE_REPOSITORY, read_digest, remove_images, tag_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from builder.boot.cell import CellBooter
    from builder.compile_result import CompileResult
    from builder.compiled import CompiledResults
    from builder.driver import StagedDriver
    from builder.failure import Failure
    from builder.finding import Finding
    from builder.image_files import ImageContents
    from builder.kernel import KernelVersion
    from builder.kernel_facts import KernelFacts
    from builder.log import Reporter
    from builder.prove import Proof
    from builder.sign import SigningLog
    from builder.signer import OpenSigner

_RETRY_PAUSE_S = 2.0
_BOOT_STAGE = "boot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where and how a run builds. ``toolkit_for`` and ``base_for`` return image names, making them if need be."""

    work_dir: Path
    drivers: Mapping[str, StagedDriver]
    journal: Journal
    reporter: Reporter
    toolkit_for: Callable[[str, KernelVersion], str]
    base_for: Callable[[Decision], str]
    facts_for: Callable[[Decision], KernelFacts]
    compiled: CompiledResults
    signers: Sequence[OpenSigner]
    signing_log: SigningLog
    booter: CellBooter | None
    workers: int
    make_jobs: int = 1
    isolation: str = "chroot"
    timeout_s: float = 1800.0
    retries: int = 2
    run_id: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}")
    layers: LayerCache = field(default_factory=LayerCache)
    is_stopping: threading.Event = field(default_factory=threading.Event)

    def log_file(self, decision: Decision) -> Path:
        return self.work_dir / "cells" / decision.cell.id / "build.log"


def build_plan(plan: Plan, shop: Workshop) -> dict[str, CellResult]:
    """Carry out a plan and return the results of its work by cell id.

    A cell that fails leaves the others alone. An interrupt stops the children and is raised again; what was
    finished until then is in the journal and in the store, and is skipped by the next run.
    """
    shop.journal.note("run-started", run=shop.run_id, cells=len(plan.work))
    done: dict[str, CellResult] = {}
    with ThreadPoolExecutor(max_workers=shop.workers, thread_name_prefix="cell") as pool:
        futures = [pool.submit(_finish_cell, decision, shop) for decision in plan.work]
        try:
            for future in as_completed(futures):
                result = future.result()
                done[result.decision.cell.id] = result
                shop.reporter.cell_finished(result)
        except BaseException:
            shop.is_stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise
        finally:
            remove_images(name for item in plan.of(Action.BUILD, Action.ASSEMBLE) for name in _passing_names(item))
    shop.journal.note("run-finished", run=shop.run_id)
    return done


def _finish_cell(decision: Decision, shop: Workshop) -> CellResult:
    """Bring one cell to its result, trying again only where the infrastructure failed."""
    started = time.monotonic()
    shop.reporter.cell_started(decision)
    for attempt in range(shop.retries + 1):
        evidence = _try_cell(decision, shop)
        if shop.is_stopping.is_set():  # whatever came of it: its children were stopped
            raise CancelledError
        failure = evidence.failure
        if failure is None or not is_worth_another_try(failure) or attempt == shop.retries:
            break
        shop.reporter.cell_retried(decision, failure)
        time.sleep(_RETRY_PAUSE_S * (attempt + 1))
    shop.journal.record(evidence)
    boot = shop.journal.last_boots.get(decision.cell.id)
    return CellResult(
        decision=decision,
        status=_status_of(decision, evidence),
        duration_s=time.monotonic() - started,
        digest=evidence.digest,
        failure=evidence.failure,
        log=evidence.log,
        boot=boot if boot and boot.run == shop.run_id else None,
    )


_STATUS = {
    Action.BUILD: Status.BUILT,
    Action.ASSEMBLE: Status.ASSEMBLED,
    Action.BOOT: Status.BOOTED,
    Action.TAG: Status.TAGGED,
}


def _status_of(decision: Decision, evidence: CellEvidence) -> Status:
    if evidence.failure is None:
        return _STATUS[decision.action]
    is_unknown = evidence.failure.failure_class is FailureClass.INFRASTRUCTURE and _BOOT_STAGE in evidence.timings
    return Status.UNPROVEN if is_unknown else Status.FAILED


def _passing_names(decision: Decision) -> tuple[str, str]:
    """Return the names of the compile stage and of the final image until it is proven."""
    return f"{STAGE_REPOSITORY}:{decision.key}", f"{STAGE_REPOSITORY}:{decision.key}-unproven"


def _try_cell(decision: Decision, shop: Workshop) -> CellEvidence:
    log_file = shop.log_file(decision)
    # Booting an image or giving it its name again must not forget how it was made.
    known = shop.journal.cells.get(decision.cell.id) if decision.action in {Action.TAG, Action.BOOT} else None
    if known and known.key != decision.key:
        known = None
    timings = {name: seconds for name, seconds in known.timings.items() if name != _BOOT_STAGE} if known else {}
    modules = known.modules if known else ()
    firmware = known.firmware if known else ()
    signers = known.signers if known else ()
    digest = ""
    failure: Failure | None = None
    try:
        if decision.action is Action.TAG:
            tag_image(decision.key_image, decision.image)
        elif decision.action is Action.BOOT:
            _boot(decision, read_image(decision.key_image, shop.layers), shop, timings)
            tag_image(decision.key_image, decision.image)
        else:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            log_file.write_bytes(b"")
            proof = _make_image(decision, shop, log_file, timings)
            modules, firmware, signers = proof.modules, proof.firmware, proof.signers
        digest = read_digest(decision.key_image)
    except Exception as error:  # noqa: BLE001 - one cell never stops the others
        if _BOOT_STAGE in timings and shop.booter is not None:
            log_file = shop.booter.log_file(decision.cell)
        failure = _describe_failure(error, log_file, stage=next(reversed(timings), ""))
    return CellEvidence(
        cell=decision.cell.id,
        driver=decision.cell.driver,
        kernel=decision.cell.kernel.raw,
        key=decision.key,
        outcome=Outcome.FAILED if failure else Outcome.BUILT,
        inputs=asdict(decision.inputs) if decision.inputs else {},
        run=shop.run_id,
        finished=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        timings=timings,
        image=decision.image,
        digest=digest,
        modules=modules,
        firmware=firmware,
        signers=signers,
        failure=failure,
        log=str(log_file.relative_to(shop.work_dir)),
    )


def _make_image(decision: Decision, shop: Workshop, log_file: Path, timings: dict[str, float]) -> Proof:
    """Compile, prove, sign, assemble, and prove what came out; only then does the image get the cell's names."""
    driver = shop.drivers[decision.cell.driver]
    stage_image, unproven = _passing_names(decision)
    final_kernel = decision.cell.kernel
    compiled_for = decision.inputs.compiled_for if decision.inputs else ""
    compile_kernel = parse_kernel_version(compiled_for) if compiled_for else final_kernel
    identities = [signer.identity for signer in shop.signers]
    with tempfile.TemporaryDirectory(dir=shop.work_dir, prefix="cell-") as scratch:
        result = _restore(decision, shop) if decision.action is Action.ASSEMBLE else None
        with _stage("toolkit", decision, shop, timings):
            toolkit_image = "" if result else shop.toolkit_for(decision.cell.source, compile_kernel)
            base_image = driver.base_image or shop.base_for(decision)
            kernel = shop.facts_for(decision)
        image_build = ImageBuild(
            context=driver.context,
            containerfile=driver.containerfile,
            # A restored compile needs no toolkit; buildah wants a name for the stage that it then leaves out.
            arguments=driver.recipe.build_arguments(
                compile_kernel, toolkit_image=toolkit_image or base_image, base_image=base_image
            ),
            log_file=log_file,
            isolation=shop.isolation,
            timeout_s=shop.timeout_s,
        )
        if result is None:
            with _stage("compile", decision, shop, timings):
                left = Path(scratch, "out")
                result = compile_modules(image_build, left, stage_image=stage_image, make_jobs=shop.make_jobs)
                shop.compiled.keep(_compile_key(decision), result)
        with _stage("fit", decision, shop, timings):
            if compiled_for:
                result = move_modules(result, compile_kernel, final_kernel)
            expected = driver.recipe.module_names
            _judge(prove_result(result, kernel, expected=expected, compiled_for=compiled_for), log_file)
        if shop.signers:
            with _stage("sign", decision, shop, timings):
                job = SigningJob(signers=shop.signers, log=shop.signing_log, cell=decision.cell.id, run=shop.run_id)
                result = sign_result(result, job)
        with _stage("assemble", decision, shop, timings):
            if driver.compress != "none":
                result = compress_modules(result, final_kernel, driver.compress)
            tree = Path(scratch, "modules")
            write_result(result, tree)
            assemble_image(image_build, decision, tree, name=unproven, signers=identities)
    with _stage("verify", decision, shop, timings):
        contents = read_image(unproven, shop.layers)
        proof = prove_image(
            contents,
            kernel,
            expected=expected,
            compiled_for=compiled_for,
            signers=[identity.expected for identity in identities],
        )
        _judge(proof.findings, log_file)
    _boot(decision, contents, shop, timings)
    tag_image(unproven, decision.key_image, decision.image)
    return proof


def _boot(decision: Decision, contents: ImageContents, shop: Workshop, timings: dict[str, float]) -> None:
    if decision.boot_key and shop.booter is not None:
        with _stage(_BOOT_STAGE, decision, shop, timings):
            shop.booter.test(decision, contents, shop.run_id)


def _restore(decision: Decision, shop: Workshop) -> CompileResult | None:
    """Return the kept result of a compile; one that was damaged is compiled again."""
    try:
        return shop.compiled.restore(_compile_key(decision))
    except FormatError as error:
        shop.reporter.say(error.message)
        return None


def _compile_key(decision: Decision) -> str:
    if decision.inputs is None:
        raise ValueError(decision)
    return decision.inputs.compile_key


def _judge(findings: Sequence[Finding], log_file: Path) -> None:
    """Write findings to the cell's log, then fail the cell because of them."""
    if findings:
        with log_file.open("a") as log:
            log.writelines(f"{finding}\n" for finding in findings)
    raise_findings(findings)


@contextlib.contextmanager
def _stage(name: str, decision: Decision, shop: Workshop, timings: dict[str, float]) -> Iterator[None]:
    shop.reporter.cell_stage(decision, name)
    started = time.monotonic()
    try:
        yield
    finally:
        timings[name] = round(time.monotonic() - started, 3)


def _describe_failure(error: Exception, log_file: Path, *, stage: str) -> Failure:
    if not is_understood(error):
        with contextlib.suppress(OSError), log_file.open("a") as log:
            traceback.print_exception(error, file=log)
    return describe_error(error, stage=stage)
