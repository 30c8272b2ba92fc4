"""Results: how each component image ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import EXIT_OK, EXIT_SEVERAL_CLASSES, FailureClass
from builder.plan.decide import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from builder.components.decide import ComponentDecision
    from builder.errors import Failure
    from builder.evidence.records import ComponentEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentResult:
    """How a component image ended; ``digest`` is its manifest's in registries, ``duration_s`` what this run spent."""

    decision: ComponentDecision
    status: str
    digest: str = ""
    duration_s: float = 0.0
    failure: Failure | None = None
    evidence: ComponentEvidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentReport:
    """Results in the order of the plan; no run id where there was no work."""

    results: Sequence[ComponentResult] = ()
    wall_s: float = 0.0
    run_id: str = ""


def result_without_work(decision: ComponentDecision) -> ComponentResult:
    """Return the result of a decision for which nothing is to be done."""
    status = "refused" if decision.action is Action.REFUSE else "skipped"
    return ComponentResult(decision=decision, status=status, digest=decision.digest, evidence=decision.known)


def exit_code_of(results: Iterable[ComponentResult], *others: int) -> int:
    """Return 0 when every image is there, else the code of the failure class, 20 for several; with those of others."""
    codes = {code for code in others if code != EXIT_OK}
    for result in results:
        if result.failure:
            codes.add(result.failure.failure_class.exit_code)
        elif result.status == "refused":
            codes.add(FailureClass.TOOLKIT.exit_code)
    if not codes:
        return EXIT_OK
    return codes.pop() if len(codes) == 1 else EXIT_SEVERAL_CLASSES
