"""Plans and results of component images, for people and for programs. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from builder.plan.decide import Action
from builder.show.table import format_duration, make_table
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from builder.components.decide import ComponentDecision, ComponentPlan
    from builder.components.result import ComponentResult

_STYLE = {
    "build": "bold", "tag": "bold", "prove": "bold", "skip": "dim", "refuse": "red",
    "built": "green", "tagged": "green", "proven": "green", "skipped": "dim", "refused": "red", "failed": "bold red",
}  # fmt: skip
_MIB = 1024**2


def emit_component_plan(plan: ComponentPlan, *, wide: bool) -> RenderableType:
    """Return the plan, a row for each image; ``wide`` adds what a narrow terminal has no room for."""
    table = make_table("component", "action", "reason", *(("key",) if wide else ()))
    for decision in plan.decisions:
        table.add_row(
            decision.item.id,
            Text(decision.action, style=_STYLE[decision.action]),
            f"{decision.reason}: {decision.explanation}",
            *((decision.key[:12],) if wide else ()),
        )
    return table


def emit_component_plan_summary(plan: ComponentPlan) -> str:
    counts = Counter(decision.action for decision in plan.decisions)
    parts = [f"{counts[action]} to {action}" for action in Action if counts[action]]
    return f"{count(len(plan.decisions), 'component image')}: {', '.join(parts)}"


def emit_component_results(results: Sequence[ComponentResult], *, wide: bool) -> RenderableType:
    """Return the results, a row for each image."""
    table = make_table(
        "component", "status", "why", "time", *(("self-test", "size", "digest") if wide else ("self-test",))
    )
    for result in results:
        failure, evidence = result.failure, result.evidence
        size = f"{evidence.size / _MIB:.0f} MiB" if evidence and evidence.size else ""
        table.add_row(
            result.decision.item.id,
            Text(result.status, style=_STYLE[result.status]),
            f"{failure.failure_class}: {failure.code}" if failure else str(result.decision.reason),
            format_duration(result.duration_s) if result.duration_s else "",
            _describe_test(result),
            *((size, result.digest.removeprefix("sha256:")[:12]) if wide else ()),
        )
    return table


def _describe_test(result: ComponentResult) -> str:
    tested = result.evidence.self_test if result.evidence else None
    if tested is None:
        return ""
    if tested.outcome != "passed":
        return f"not run: {tested.why}"
    return f"passed, {tested.by}, {tested.seconds:.1f} s"


def emit_component_causes(results: Sequence[ComponentResult]) -> Text:
    """Return why images failed or were refused, a paragraph each."""
    return Text("\n").join(
        Text(f"{result.decision.item.id}: {_cause(result)}")
        for result in results
        if result.failure or result.status == "refused"
    )


def _cause(result: ComponentResult) -> str:
    failure = result.failure
    if failure is None:
        return result.decision.explanation
    log = f"\n  log: {result.evidence.log}" if result.evidence and result.evidence.log else ""
    hint = f"\n  {failure.hint}" if failure.hint else ""
    return f"{failure.failure_class}, {failure.code}: {failure.detail}{hint}{log}"


def describe_component_decision(decision: ComponentDecision) -> dict[str, Any]:
    """Return a decision as JSON has it."""
    item = decision.item
    return {
        "component": item.id,
        "name": item.declaration.name,
        "version": item.declaration.version,
        "arch": item.arch,
        "action": decision.action,
        "reason": decision.reason,
        "explanation": decision.explanation,
        "key": decision.key or None,
        "image": decision.image,
        "inputs": asdict(decision.inputs) if decision.inputs else None,
    }


def describe_component_result(result: ComponentResult) -> dict[str, Any]:
    """Return a result as JSON has it."""
    evidence = result.evidence
    return describe_component_decision(result.decision) | {
        "status": result.status,
        "duration_s": round(result.duration_s, 3),
        "timings": dict(evidence.timings) if evidence else {},
        "digest": result.digest or None,
        "size": evidence.size if evidence else None,
        "self_test": asdict(evidence.self_test) if evidence and evidence.self_test else None,
        "log": evidence.log if evidence else None,
        "failure": asdict(result.failure) if result.failure else None,
    }
