"""A run of a pipeline for people: a table that changes, or lines about what changed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from builder.errors import printable
from builder.shards.telling import summarize
from builder.show.table import format_duration, make_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from builder.shards.document import PlanDocument
    from builder.shards.following import Seen

_WAITING = "waits"


def emit_run(seen: Seen, document: PlanDocument | None) -> RenderableType:
    """Return how far a run is: its tasks, and a row for each shard once there is a plan."""
    table = make_table("task", "images", "about", "state", "what came of it")
    for task in seen.state.tasks:
        if task.shard is None:
            table.add_row(printable(task.task), "", "", printable(task.told), "")
    for shard in document.shards if document else ():
        state = seen.state.shard(shard.number)
        told = _told(seen, shard.number)
        table.add_row(
            f"shard {shard.number} ({shard.arch})", str(len(shard.cells) + len(shard.components)),
            format_duration(shard.predicted_s), _WAITING if state is None else printable(state.told),
            Text(told or "no evidence yet", style="" if told else "dim"),
        )  # fmt: skip
    return table


def tell_changes(seen: Seen, told: dict[str, str]) -> Iterator[str]:
    """Yield a line for each task that is otherwise than ``told`` says, which is brought up to date."""
    for task in seen.state.tasks:
        name = task.task if task.shard is None else f"shard {task.shard}"
        summary = "" if task.shard is None else _told(seen, task.shard)
        state = f"{task.told}; {summary}" if summary else task.told
        if told.get(name) != state:
            told[name] = state
            yield f"{name}: {state}"


def _told(seen: Seen, number: int) -> str:
    if number in seen.collected.found:
        return summarize(seen.collected.found[number].evidence)
    return seen.collected.wrong.get(number, "")
