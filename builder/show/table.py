"""Plans and results as tables for people. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from builder.build.result import Status
from builder.evidence.clusters import cluster
from builder.plan.decide import Action, Reason
from builder.plan.known import OF_KERNELS
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from builder.build.result import CellResult
    from builder.errors import Failure
    from builder.evidence.clusters import Cluster
    from builder.plan.decide import Plan

_ACTION_STYLE = {
    Action.BUILD: "bold",
    Action.ASSEMBLE: "bold",
    Action.BOOT: "bold",
    Action.TAG: "bold",
    Action.PROVE: "bold",
    Action.SKIP: "dim",
    Action.EXCLUDE: "dim",
    Action.REFUSE: "red",
    Action.FAIL: "red",
}
_STATUS_STYLE = {
    Status.BUILT: "green",
    Status.ASSEMBLED: "green",
    Status.BOOTED: "green",
    Status.TAGGED: "green",
    Status.PROVEN: "green",
    Status.SKIPPED: "dim",
    Status.EXCLUDED: "dim",
    Status.REFUSED: "red",
    Status.UNPROVEN: "yellow",
    Status.FAILED: "bold red",
}


_ACKNOWLEDGED = frozenset(Reason(code) for code in OF_KERNELS)
_NEVER_WRAPPED = {"cell", "action", "status", "time", "kernel", "release", "variant", "arch"}


def emit_plan_table(plan: Plan, *, wide: bool) -> RenderableType:
    """Return the plan, a row for each cell; ``wide`` adds what a narrow terminal has no room for."""
    table = make_table("cell", "action", "reason", *(("key",) if wide else ()))
    for decision in plan.decisions:
        table.add_row(
            decision.cell.id,
            Text(decision.action, style=_ACTION_STYLE[decision.action]),
            f"{decision.reason}: {decision.explanation}",
            *((decision.key[:12],) if wide else ()),
        )
    return table


def emit_plan_summary(plan: Plan, predicted_s: float | None, workers: int) -> str:
    """Return the plan in one sentence, with the predicted time where there is something to predict from."""
    counts = Counter(decision.action for decision in plan.decisions)
    parts = [f"{counts[action]} to {action}" for action in Action if counts[action]]
    sentence = f"{count(len(plan.decisions), 'cell')}: {', '.join(parts) or 'nothing'}"
    if not plan.of(Action.BUILD):
        return sentence
    if predicted_s is None:
        return f"{sentence}; no recorded timings to predict from"
    return f"{sentence}; about {format_duration(predicted_s)} with {workers} at once"


def emit_results_table(results: Sequence[CellResult], *, wide: bool) -> RenderableType:
    """Return the results, a row for each cell."""
    has_boots = any(result.boot or result.decision.boot_opt_out for result in results)
    has_cache = any(result.cache and result.cache.compiles for result in results)
    columns = (*(("cached",) if has_cache else ()), *(("boot",) if has_boots else ()), *(("digest",) if wide else ()))
    table = make_table("cell", "status", "why", "time", *columns)
    for result in results:
        failure = result.failure
        table.add_row(
            result.decision.cell.id,
            Text(result.status, style=_STATUS_STYLE[result.status]),
            f"{failure.failure_class}: {failure.code}" if failure else result.decision.reason,
            format_duration(result.duration_s) if result.duration_s else "",
            *((str(result.cache or ""),) if has_cache else ()),
            *((_describe_boot(result),) if has_boots else ()),
            *((result.digest.removeprefix("sha256:")[:12],) if wide else ()),
        )
    return table


def emit_causes(results: Sequence[CellResult]) -> Text:
    """Return each cause of failure once; its lines are as long as they are, to be printed as such."""
    return Text("\n").join(_emit_cluster(item) for item in cluster(failures_of(results)))


_NOT_EXERCISED = "not exercised"


def _describe_boot(result: CellResult) -> str:
    boot = result.boot
    if boot is None:
        return f"not booted: {result.decision.boot_opt_out}" if result.decision.boot_opt_out else ""
    tested = {"signers": "signed", "throwaway": "signed copies", "nobody": "unsigned"}[boot.signed_by]
    words = f"{boot.mode}, {tested}, {boot.acceleration}, {boot.seconds:.1f} s"
    # Not only beside the seconds: a pass in which a module never ran must not look like one in which it did.
    return "\n".join([words, *(note for note in boot.notes if _NOT_EXERCISED in note)])


def failures_of(results: Sequence[CellResult]) -> dict[str, Failure]:
    """Return the failures by cell id, in the form that ``failure.cluster`` takes."""
    return {result.decision.cell.id: result.failure for result in results if result.failure}


def emit_results_summary(results: Sequence[CellResult], wall_s: float) -> str:
    counts = Counter(result.status for result in results)
    parts = [f"{counts[status]} {status}" for status in Status if counts[status]]
    return "\n".join([*_without_work(results), f"{', '.join(parts)} in {format_duration(wall_s)}"])


def _without_work(results: Sequence[CellResult]) -> list[str]:
    """Return why cells were refused or fail as before, a line for the first of each reason.

    A code alone tells nobody what to do. Those that versions.yaml acknowledges are told with who looks after them.
    """
    idle = [
        (result.status, result.decision)
        for result in results
        if result.status is Status.REFUSED
        or result.decision.failed
        or (result.status is Status.EXCLUDED and result.decision.reason in _ACKNOWLEDGED)
    ]
    counts = Counter((status, decision.reason) for status, decision in idle)
    first = {(status, decision.reason): decision for status, decision in reversed(idle)}
    return [
        f"{kind[0]} {first[kind].cell.id}{f' and {number - 1} more' if number > 1 else ''}: {first[kind].explanation}"
        for kind, number in counts.items()
    ]


def format_duration(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


class PlainTable(Table):
    """A table whose cells are what they say: reasons come out of files that others wrote, and may hold brackets."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def make_table(*columns: str) -> Table:
    """Return an empty table in the one look that all of them have."""
    table = PlainTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _NEVER_WRAPPED)
    return table


def _emit_cluster(item: Cluster) -> Text:
    failure = item.failure
    lines = Text()
    lines.append(f"{failure.failure_class}: {failure.code}", style="bold red")
    lines.append(f" in {count(len(item.cells), 'cell')}\n")
    if failure.location:
        lines.append(f"  {failure.location}\n")
    lines.append(f"  {failure.detail}\n")
    if failure.hint:
        lines.append(f"  {failure.hint}\n", style="italic")
    lines.append(f"  whole log: nox -s log -- {item.cells[0]}\n", style="dim")
    lines.append("  " + ", ".join(item.cells) + "\n", style="dim")
    return lines
