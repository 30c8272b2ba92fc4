"""Plans that many machines carry out, and what came of them, for people and for programs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from builder.show.table import format_duration, make_table
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from builder.shards.document import PlanDocument, PlannedShard


def describe_shards(document: PlanDocument) -> list[dict[str, Any]]:
    """Return the shards of a plan as data."""
    return [shard.model_dump(mode="json") for shard in document.shards]


def emit_shards_table(document: PlanDocument) -> RenderableType:
    """Return what each machine does, a row for each shard."""
    table = make_table("shard", "arch", "cells", "images", "about", "first")
    for shard in document.shards:
        items = [*shard.cells, *shard.components]
        table.add_row(
            str(shard.number), shard.arch, str(len(shard.cells)), str(len(shard.components)),
            format_duration(shard.predicted_s), items[0] if items else "",
        )  # fmt: skip
    return table


def emit_plan_sent(document: PlanDocument, name: str) -> Iterator[str]:
    """Yield what a plan comes to, where it is, and how it is carried out."""
    work = sum(len(_items(shard)) for shard in document.shards)
    if not document.shards:
        yield f"nothing is to be made: {count(len(document.keys), 'image')} wanted, and each is there or refused"
    else:
        longest = max(shard.predicted_s for shard in document.shards)
        guess = ", by guess: no build is on record here" if document.is_guessed else ""
        yield (
            f"{count(work, 'image')} to make in {count(len(document.shards), 'shard')}, the longest about "
            f"{format_duration(longest)}{guess}"
        )
    yield f"plan  {name}"
    if document.shards:
        yield f"next  python -m builder shard --plan {name} --shard 0, ... on any machine, then"
    yield f"      python -m builder gate --plan {name}"


def emit_progress(document: PlanDocument, done: Mapping[int, tuple[str, str]]) -> RenderableType:
    """Return how far a plan is, a row for each shard; ``done`` are times and sentences of those that left evidence."""
    table = make_table("shard", "arch", "images", "about", "done", "what came of it")
    for shard in document.shards:
        finished, summary = done.get(shard.number, ("", "no evidence yet"))
        table.add_row(
            str(shard.number), shard.arch, str(len(_items(shard))), format_duration(shard.predicted_s), finished,
            Text(summary, style="" if finished else "dim"),
        )  # fmt: skip
    return table


def emit_missing(missing: Mapping[int, str]) -> Iterator[str]:
    """Yield a sentence for each shard that left no evidence."""
    for _, why in sorted(missing.items()):
        yield f"{why}: run it again, it goes on where it was"


def _items(shard: PlannedShard) -> tuple[str, ...]:
    return (*shard.cells, *shard.components)
