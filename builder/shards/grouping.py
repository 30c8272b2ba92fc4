"""Cuts the work of a plan into shards, one for each machine, by the seconds that it will probably take. Pure.

The longest work comes first, each piece to the shard that has least to do: then no shard has more than an even share
and one piece. Cells whose modules are compiled with the same toolkit stay together, because each machine has to get a
toolkit before it compiles anything; only where they would be more than an even share they are cut, and never so small
that getting the toolkit takes longer than what is done with it.
"""

from __future__ import annotations

import heapq
import math
import statistics
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING

from builder.errors import UsageError
from builder.evidence.records import CellOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from builder.evidence.records import BootEvidence, CellEvidence

MOST_SHARDS = 64
"""Machines at once: Tekton has no bound of its own for them, and a cluster's own registry and nodes do."""
# A machine that is started for less costs more than it saves: an image to pull, a project to lay out.
_LEAST_S = 120.0
# Where nothing is recorded yet; only how they relate to each other matters then.
_GUESSED_CELL_S, _GUESSED_TOOLKIT_S, _GUESSED_BOOT_S = 60.0, 60.0, 30.0
# Finding a toolkit in the store takes no time worth recording; anything above this was getting one.
_TOOLKIT_WAS_MADE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds that work takes: a cell of each driver, one of any other, a toolkit, a boot test.

    ``is_guessed``: no build is on record, so these are no measurements.
    """

    cell_s: float = _GUESSED_CELL_S
    toolkit_s: float = _GUESSED_TOOLKIT_S
    boot_s: float = _GUESSED_BOOT_S
    by_driver: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    is_guessed: bool = True

    def of_cell(self, driver: str, *, is_booted: bool) -> float:
        return self.by_driver.get(driver, self.cell_s) + (self.boot_s if is_booted else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """A cell or component image that is to be made: its id, the toolkit that it needs, seconds without the toolkit.

    ``toolkit`` is any word that is equal for equal toolkits; empty where it needs none.
    """

    id: str
    toolkit: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWork:
    """What one machine does: ids of work in the order in which it came, and seconds, toolkits included."""

    items: tuple[str, ...]
    seconds: float


def measure_costs(history: Iterable[CellEvidence], boots: Iterable[BootEvidence]) -> Costs:
    """Return what recorded builds took, as medians; guesses for what is not recorded."""
    by_driver: dict[str, list[float]] = {}
    toolkits: list[float] = []
    for item in history:
        if item.outcome is not CellOutcome.BUILT or "compile" not in item.timings:
            continue
        by_driver.setdefault(item.driver, []).append(item.timings["compile"] + item.timings.get("assemble", 0.0))
        if item.timings.get("toolkit", 0.0) > _TOOLKIT_WAS_MADE_S:
            toolkits.append(item.timings["toolkit"])
    if not by_driver:
        return Costs()
    booted = [item.seconds for item in boots if item.seconds > 0]
    return Costs(
        cell_s=statistics.median(seconds for times in by_driver.values() for seconds in times),
        toolkit_s=statistics.median(toolkits) if toolkits else _GUESSED_TOOLKIT_S,
        boot_s=statistics.median(booted) if booted else _GUESSED_BOOT_S,
        by_driver=MappingProxyType({driver: statistics.median(times) for driver, times in sorted(by_driver.items())}),
        is_guessed=False,
    )


def group_work(items: Sequence[WorkItem], *, most: int, toolkit_s: float) -> tuple[ShardWork, ...]:
    """Cut work into at most so many shards, none of them empty; equal work gives equal shards, in whatever order.

    Args:
        items: what is to be done; ids are different from each other.
        most: shards that there may be, 1 to 64.
        toolkit_s: seconds until a machine has a toolkit.

    Raises:
        UsageError: there may be none, or more than 64.
    """
    if not 1 <= most <= MOST_SHARDS:
        raise UsageError(f"there can be 1 to {MOST_SHARDS} shards, not {most}")
    total_s = sum(item.seconds for item in items) + toolkit_s * len({item.toolkit for item in items if item.toolkit})
    number = max(1, min(most, math.ceil(total_s / _LEAST_S)))
    pieces = sorted(
        _cut(items, share_s=max(total_s / number, 2 * toolkit_s), toolkit_s=toolkit_s),
        key=lambda piece: (-piece.seconds, piece.items),
    )
    loads = [(0.0, index) for index in range(min(number, len(pieces)))]
    found: list[list[ShardWork]] = [[] for _ in loads]
    for piece in pieces:
        load_s, index = heapq.heappop(loads)
        found[index].append(piece)
        heapq.heappush(loads, (load_s + piece.seconds, index))
    return tuple(
        ShardWork(
            items=tuple(sorted(item for piece in pieces for item in piece.items)),
            seconds=round(sum(piece.seconds for piece in pieces), 3),
        )
        for pieces in found
    )


def _cut(items: Iterable[WorkItem], *, share_s: float, toolkit_s: float) -> Iterator[ShardWork]:
    """Yield work that stays together: all of a toolkit, or pieces of it that are no more than a share."""
    ordered = sorted(items, key=lambda item: (item.toolkit, -item.seconds, item.id))
    for toolkit, family in groupby(ordered, key=lambda item: item.toolkit):
        first_s = toolkit_s if toolkit else 0.0
        piece: list[str] = []
        seconds = first_s
        for item in family:
            # What needs no toolkit has no reason to stay together.
            if piece and (not toolkit or seconds + item.seconds > share_s):
                yield ShardWork(items=tuple(piece), seconds=seconds)
                piece, seconds = [], first_s
            piece.append(item.id)
            seconds += item.seconds
        if piece:
            yield ShardWork(items=tuple(piece), seconds=seconds)
