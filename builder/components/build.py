"""Carries out a plan for component images: one after the other, none of which can stop the others."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from builder.build.failing import describe_failure
from builder.components.make import key_image_of, make_image, prove_again
from builder.components.result import ComponentResult
from builder.drivers.git import read_commit
from builder.evidence.blame import is_worth_another_try
from builder.evidence.journal import time_stamp
from builder.evidence.records import CellOutcome, ComponentEvidence
from builder.host.run import check_stop
from builder.plan.decide import Action
from builder.store.images import find_image, name_image, remove_images

if TYPE_CHECKING:
    from builder.components.decide import ComponentDecision
    from builder.components.make import Made
    from builder.components.planning import PlannedComponents
    from builder.components.workshop import ComponentWorkshop
    from builder.drivers.commit import SourceCommit
    from builder.errors import Failure

_RETRY_PAUSE_S = 2.0


def build_components(planned: PlannedComponents, workshop: ComponentWorkshop) -> dict[str, ComponentResult]:
    """Carry out a plan and return the results of its work by id; each is in the journal as soon as it is done."""
    done: dict[str, ComponentResult] = {}
    work = planned.plan.work
    try:
        for number, decision in enumerate(work, start=1):
            check_stop()
            result = _finish(decision, workshop)
            done[decision.item.id] = result
            tail = f"{result.failure.failure_class}: {result.failure.detail}" if result.failure else ""
            told = tail or f"{result.duration_s:.1f} s"
            workshop.say(f"[{number}/{len(work)}] {result.status:<7} {decision.item.id}  {told}")
    finally:
        remove_images(workshop.passing_name(decision) for decision in work if decision.action is Action.BUILD)
    return done


_STATUS = {Action.BUILD: "built", Action.TAG: "tagged", Action.PROVE: "proven"}


def _finish(decision: ComponentDecision, workshop: ComponentWorkshop) -> ComponentResult:
    started = time.monotonic()
    evidence = _try(decision, workshop)
    for attempt in range(workshop.project.config.build.retries):
        if evidence.failure is None or not is_worth_another_try(evidence.failure):
            break
        workshop.say(f"{decision.item.id}: trying again after {evidence.failure.code}: {evidence.failure.detail}")
        time.sleep(_RETRY_PAUSE_S * (attempt + 1))
        evidence = _try(decision, workshop)
    workshop.project.journal.record_component(evidence)
    return ComponentResult(
        decision=decision,
        status="failed" if evidence.failure else _STATUS[decision.action],
        digest="" if evidence.failure else evidence.digest,
        duration_s=time.monotonic() - started,
        failure=evidence.failure,
        evidence=evidence,
    )


def _try(decision: ComponentDecision, workshop: ComponentWorkshop) -> ComponentEvidence:
    log_file = workshop.log_file(decision)
    timings: dict[str, float] = {}
    failure: Failure | None = None
    made: Made | None = None
    commits: tuple[SourceCommit, ...] = ()
    started = time_stamp()
    known = workshop.project.journal.components.get(decision.item.id)
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        if decision.action is Action.TAG and known is not None:
            name_image(find_image(key_image_of(decision)), decision.image)
            return replace(known, run=workshop.run_id, image=decision.image)
        if decision.action is Action.BUILD:
            log_file.write_bytes(b"")
            commits = _read_commits(decision, workshop)
            made = make_image(decision, workshop, log_file, timings)
        else:
            made = prove_again(decision, workshop, log_file, timings)
    except CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - one image never stops the others
        failure = describe_failure(error, log_file, stage=next(reversed(timings), ""))
    return ComponentEvidence(
        component=decision.item.id,
        arch=decision.item.arch,
        key=decision.key,
        outcome=CellOutcome.FAILED if made is None else CellOutcome.BUILT,
        inputs=asdict(decision.inputs) if decision.inputs else {},
        run=workshop.run_id,
        started=started,
        finished=time_stamp(),
        timings=timings,
        image=decision.image,
        digest=made.digest if made else "",
        stored=made.image.digest if made else "",
        size=made.size if made else 0,
        base_layers=made.base_layers if made else {},
        wheels=made.wheels if made else (),
        self_test=made.self_test if made else None,
        commits=commits,
        failure=failure,
        log=str(log_file.relative_to(workshop.project.work_dir)),
        derived=made.derived if made else False,
    )


def _read_commits(decision: ComponentDecision, workshop: ComponentWorkshop) -> tuple[SourceCommit, ...]:
    said = decision.item.declaration
    source = workshop.staged[said.name].source
    project = workshop.project
    commit = (
        project.commits.get(f"component {said.name}")
        if project.is_copy
        else read_commit("source", said.source_dir, source.tree.files)
    )
    return (commit,) if commit else ()
