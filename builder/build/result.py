"""Results: how each cell of a plan ended. Table, JSON, JUnit and exit code are views of the same list. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from builder.errors import EXIT_OK, EXIT_SEVERAL_CLASSES, FailureClass
from builder.plan.decide import Action, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from builder.errors import Failure
    from builder.evidence.records import BootEvidence
    from builder.plan.decide import Decision
    from builder.store.cached_compiler import CacheUse


class Status(StrEnum):
    BUILT = "built"
    ASSEMBLED = "assembled"
    BOOTED = "booted"
    TAGGED = "tagged"
    PROVEN = "proven"
    SKIPPED = "skipped"
    EXCLUDED = "excluded"
    REFUSED = "refused"
    UNPROVEN = "unproven"
    FAILED = "failed"


# Reasons of refusals that are no answer.
_NOT_KNOWN = frozenset({Reason.REGISTRY_UNKNOWN, Reason.TOOLKIT_UNKNOWN})
_STATUS_WITHOUT_WORK = {
    Action.SKIP: Status.SKIPPED,
    Action.EXCLUDE: Status.EXCLUDED,
    Action.REFUSE: Status.REFUSED,
    Action.FAIL: Status.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """How a cell ended; ``duration_s`` counts what this run spent on it, ``digest`` is the image's manifest."""

    decision: Decision
    status: Status
    duration_s: float = 0.0
    digest: str = ""
    failure: Failure | None = None
    log: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage, in the order in which this run came through them; of several attempts, of the last."""
    cpu: Mapping[str, float] = field(default_factory=dict)
    """Seconds of processors by stage, in the same order."""
    boot: BootEvidence | None = None
    """The boot test of this run; None where there was none, or the guest did not come up."""
    cache: CacheUse | None = None
    """What the compile cache was good for; None where nothing was compiled, or without it."""


def result_without_work(decision: Decision) -> CellResult:
    """Return the result of a decision for which nothing is to be done."""
    failed = decision.failed
    return CellResult(
        decision=decision,
        status=_STATUS_WITHOUT_WORK[decision.action],
        digest=decision.digest,
        failure=failed.failure if failed else None,
        log=failed.log if failed else "",
    )


def exit_code_of(results: Iterable[CellResult]) -> int:
    """Return 0 when every cell that should be there is there, else the code of the failure class, 20 for several.

    A refused cell counts as a failed toolkit: something that was asked for is not there. Where that is only because
    somebody did not answer, it counts as a failed infrastructure: unknown is not absent (design, rule 4).
    """
    results = list(results)
    classes = {result.failure.failure_class for result in results if result.failure}
    classes |= {_class_of_refusal(result.decision) for result in results if result.status is Status.REFUSED}
    if not classes:
        return EXIT_OK
    return classes.pop().exit_code if len(classes) == 1 else EXIT_SEVERAL_CLASSES


def _class_of_refusal(decision: Decision) -> FailureClass:
    return FailureClass.INFRASTRUCTURE if decision.reason in _NOT_KNOWN else FailureClass.TOOLKIT
