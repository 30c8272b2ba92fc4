"""Results become evidence, and evidence becomes results again: the same tables and exit codes everywhere. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from builder.build.result import CellResult, Status, result_without_work
from builder.components.result import ComponentResult
from builder.components.result import result_without_work as image_without_work
from builder.errors import Failure, FailureClass, SignerError
from builder.plan.decide import Action
from builder.publish.result import PublishStatus
from builder.shards.evidence import EvidenceRow, FailureRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from builder.components.decide import ComponentDecision
    from builder.plan.decide import Decision
    from builder.publish.result import PublishResult
    from builder.shards.evidence import ShardEvidence

THERE = frozenset({PublishStatus.PUBLISHED, PublishStatus.THERE, PublishStatus.COMPLETED})
_GOOD = frozenset({Status.BUILT, Status.ASSEMBLED, Status.BOOTED, Status.TAGGED, Status.PROVEN, Status.SKIPPED})


def cell_rows(results: Iterable[CellResult], published: Iterable[PublishResult]) -> tuple[EvidenceRow, ...]:
    """Return what is left behind of cells."""
    there = {result.title: result for result in published}
    return tuple(
        _row(result.decision.cell.id, result.decision.key, result, there, timings=result.timings, log=result.log)
        for result in results
    )


def image_rows(results: Iterable[ComponentResult], published: Iterable[PublishResult]) -> tuple[EvidenceRow, ...]:
    """Return what is left behind of component images."""
    there = {result.title: result for result in published}
    return tuple(
        _row(
            result.decision.item.id, result.decision.key, result, there,
            timings=result.evidence.timings if result.evidence else {},
            log=result.evidence.log if result.evidence else "",
        )
        for result in results
    )  # fmt: skip


def _row(
    name: str,
    key: str,
    result: CellResult | ComponentResult,
    published: Mapping[str, PublishResult],
    *,
    timings: Mapping[str, float],
    log: str,
) -> EvidenceRow:
    publication = published.get(name)
    failure = result.failure
    explanation = result.decision.explanation if result.status in {Status.REFUSED, Status.EXCLUDED} else ""
    return EvidenceRow(
        id=name,
        key=key,
        status=result.status,
        digest=result.digest or (publication.digest if publication else ""),
        duration_s=round(result.duration_s, 3),
        timings={stage: round(seconds, 3) for stage, seconds in timings.items()},
        failure=FailureRow(
            failure_class=failure.failure_class, code=failure.code, detail=failure.detail[:8000],
            hint=failure.hint[:2000] if failure.hint else None, location=failure.location,
        ) if failure else None,
        log=log if failure else "",
        published=publication.status if publication else "",
        why=(publication.why if publication and publication.status not in THERE else "")[:8000] or explanation[:8000],
    )  # fmt: skip


def _failure_of(row: EvidenceRow | None) -> Failure | None:
    return Failure(**row.failure.model_dump()) if row and row.failure else None


def find_lack(
    row: EvidenceRow | None, published: PublishResult | None, absent: Failure | None, *, is_published: bool
) -> Failure | None:
    """Return why an image that was to be made is not there; None where it is.

    What the registry has counts, and not what somebody says (design, rule 2).

    Args:
        row: what its shard left about it.
        published: what its registry says, where it was asked.
        absent: what there is instead of evidence, where a shard was to make it; else None.
        is_published: whether the plan wants it in a registry.
    """
    if published is not None and published.status in THERE:
        return None
    if failure := _failure_of(row):
        return failure
    if published is not None and published.status is PublishStatus.UNKNOWN:
        return Failure(failure_class=FailureClass.INFRASTRUCTURE, code="registry-unknown", detail=published.why)
    if row is None and absent is not None:
        return absent
    if is_published:
        detail = (row.why if row else "") or (published.why if published else "") or "it is not in its registry"
        return Failure(failure_class=FailureClass.PUBLISH, code="not-published", detail=detail)
    if row is None or row.status in _GOOD:
        return None
    return Failure(failure_class=FailureClass.INFRASTRUCTURE, code="not-made", detail=row.why or f"it is {row.status}")


def no_evidence(detail: str) -> Failure:
    """Return the failure of what a shard tells nothing of."""
    return Failure(
        failure_class=FailureClass.INFRASTRUCTURE,
        code="no-evidence",
        detail=detail,
        hint="run that shard again: it goes on where it was",
    )


def explain_silence(who: str, evidence: ShardEvidence) -> Failure:
    """Return the failure of what a shard, or the gate, was to tell of: it could not begin, or tells nothing of it."""
    if not evidence.error:
        return no_evidence(f"{who} tells nothing of it")
    classes = {kind.exit_code: kind for kind in FailureClass} | {SignerError.exit_code: FailureClass.SIGN}
    return Failure(
        failure_class=classes.get(evidence.exit_code, FailureClass.INFRASTRUCTURE),
        code="shard-failed",
        detail=f"{who} made nothing of it: {evidence.error}",
    )


def cell_result(
    decision: Decision,
    row: EvidenceRow | None,
    published: PublishResult | None,
    absent: Failure | None,
    *,
    is_published: bool,
    may_exclude: bool,
) -> CellResult:
    """Return how a cell ended, as if it had been built here.

    Args:
        decision: the plan's.
        row: what its shard left about it.
        published: what its registry says, where it was asked.
        absent: what there is instead of evidence.
        is_published: whether the plan wants it in a registry.
        may_exclude: whether the driver's dkms.conf had to be run to tell whether it wants the kernel. Of all others the
            plan knew, and evidence that says so lies: what is excluded counts as no failure.
    """
    if decision.action in {Action.EXCLUDE, Action.REFUSE}:
        return result_without_work(decision)
    told = {Status.REFUSED, Status.EXCLUDED} if may_exclude else {Status.REFUSED}
    if row and row.status in told and not (published and published.status in THERE):
        action = Action.EXCLUDE if row.status == Status.EXCLUDED else Action.REFUSE
        return result_without_work(replace(decision, action=action, explanation=row.why or decision.explanation))
    failure = find_lack(row, published, absent, is_published=is_published)
    status = Status.FAILED if failure else Status(row.status) if row and row.status in _GOOD else Status.SKIPPED
    return CellResult(
        decision=decision,
        status=status,
        duration_s=row.duration_s if row else 0.0,
        digest=(published.digest if published else "") or (row.digest if row and not failure else ""),
        failure=failure,
        log=row.log if row and failure else "",
        timings=row.timings if row else {},
    )


def image_result(
    decision: ComponentDecision,
    row: EvidenceRow | None,
    published: PublishResult | None,
    absent: Failure | None,
    *,
    is_published: bool,
) -> ComponentResult:
    """Return how a component image ended, as if it had been built here."""
    if decision.action is Action.REFUSE:
        return image_without_work(decision)
    failure = find_lack(row, published, absent, is_published=is_published)
    return ComponentResult(
        decision=decision,
        status="failed" if failure else row.status if row else "skipped",
        digest=(published.digest if published else "") or (row.digest if row and not failure else ""),
        duration_s=row.duration_s if row else 0.0,
        failure=failure,
    )


def summarize(evidence: ShardEvidence) -> str:
    """Return what a shard came to, in one short sentence."""
    rows = [*evidence.cells, *evidence.components]
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    parts = ", ".join(f"{number} {status}" for status, number in sorted(counts.items())) or "nothing to do"
    first = next((row for row in rows if row.failure), None)
    told = f"; {first.id}: {first.failure.code}" if first and first.failure else ""
    return f"{parts}{told}; exit {evidence.exit_code}" + (f"; {evidence.error[:200]}" if evidence.error else "")
