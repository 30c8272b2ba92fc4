"""How long a plan will take, by what earlier runs took, and how much of it is left while it runs. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.evidence.records import CellOutcome
from builder.plan.decide import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from builder.evidence.records import BootEvidence, CellEvidence
    from builder.plan.decide import Decision, Plan

_TOOLKIT_WAS_MADE_S = 0.5
_COMPILE = "compile"
# Boots have records of their own, and a toolkit is waited for by whoever comes first.
_APART = frozenset({"boot", "toolkit"})


def predict_cells(
    plan: Plan, history: Iterable[CellEvidence], *, missing_toolkits: int, boots: Iterable[BootEvidence] = ()
) -> dict[str, float] | None:
    """Predict the seconds of each cell that there is work for, in the plan's order; None while nothing is recorded.

    A cell takes what it took before; one that was never made, what cells of its driver took, else what all took.

    Args:
        plan: what would be done.
        history: evidence of earlier builds, of any driver.
        missing_toolkits: how many toolkits have to be made first; the first cells that are built wait for them.
        boots: evidence of earlier boot tests.
    """
    builds = [item for item in history if item.outcome is CellOutcome.BUILT and _COMPILE in item.timings]
    made = [item.timings["toolkit"] for item in builds if item.timings.get("toolkit", 0.0) > _TOOLKIT_WAS_MADE_S]
    by_build = _Recorded([(item.cell, item.driver, _seconds_of(item)) for item in builds])
    by_boot = _Recorded([(item.cell, _edition(item.cell), item.seconds) for item in boots])
    found: dict[str, float] = {}
    for decision in plan.work:
        seconds = 0.0
        if decision.action is Action.BUILD:
            if not builds:
                return None
            seconds = by_build.of(decision)
            if missing_toolkits and made:
                seconds += statistics.median(made)
                missing_toolkits -= 1
        if decision.boot_key:
            if not by_boot.times:
                return None
            seconds += by_boot.of(decision)
        found[decision.cell.id] = seconds
    return found


def longest_first(decisions: Iterable[Decision], seconds: Mapping[str, float]) -> list[Decision]:
    """Return cells in the order in which they are begun: a long one that is begun last has everybody wait for it.

    Of cells that take as long, and where nothing is recorded, the plan's order stays.
    """
    return sorted(decisions, key=lambda decision: -seconds.get(decision.cell.id, 0.0))


def _seconds_of(evidence: CellEvidence) -> float:
    return sum(seconds for stage, seconds in evidence.timings.items() if stage not in _APART)


def _edition(cell: str) -> str:
    """Return the part of a cell's id that tells driver and version: records of boots do not name the driver alone."""
    return cell.partition("/")[0]


class _Recorded:
    """Seconds by cell, and by driver or its edition."""

    def __init__(self, rows: Iterable[tuple[str, str, float]]) -> None:
        self.times: dict[str, float] = {}
        self._by_driver: dict[str, list[float]] = {}
        for cell, driver, seconds in rows:
            self.times[cell] = seconds
            self._by_driver.setdefault(driver, []).append(seconds)

    def of(self, decision: Decision) -> float:
        if decision.cell.id in self.times:
            return self.times[decision.cell.id]
        cell = decision.cell
        own = self._by_driver.get(cell.driver) or self._by_driver.get(_edition(cell.id))
        return statistics.median(own or self.times.values())


def wall_seconds(durations: Iterable[float], workers: int, busy: Sequence[float] = ()) -> float:
    """Return how long work takes that workers take in its order; ``busy`` are seconds until some of them are free."""
    free = sorted([*busy, *[0.0] * max(0, workers - len(busy))])
    for seconds in durations:
        free[0] += seconds
        free.sort()
    return free[-1] if free else 0.0


@dataclass(kw_only=True)
class TimeToGo:
    """What is left of a run: predictions, corrected by how long cells took that are finished.

    ``seconds`` are those of ``predict_cells``, for each cell; empty where nothing is recorded: then what is finished
    tells. Times are seconds of a clock that only goes forward.
    """

    seconds: Mapping[str, float]
    cells: Sequence[str]
    workers: int
    _started: dict[str, float] = field(default_factory=dict)
    _finished: dict[str, float] = field(default_factory=dict)

    def start(self, cell: str, now: float) -> None:
        self._started[cell] = now

    def finish(self, cell: str, now: float) -> None:
        """Note that a cell is done; one that never started was no work."""
        self._finished[cell] = now - self._started.pop(cell, now)

    def left_s(self, now: float) -> float | None:
        """Return the seconds that are left; None while nothing tells."""
        waiting = [cell for cell in self.cells if cell not in self._started and cell not in self._finished]
        if not self.seconds and not self._finished:
            return None
        typical = statistics.fmean(self._finished.values()) if self._finished else 0.0
        pace = self._pace()
        expected = {cell: self.seconds[cell] * pace if cell in self.seconds else typical for cell in self.cells}
        busy = [max(0.0, expected.get(cell, typical) - (now - since)) for cell, since in self._started.items()]
        return wall_seconds((expected[cell] for cell in waiting), max(1, self.workers, len(busy)), busy)

    def _pace(self) -> float:
        """Return how much longer than predicted the cells took that are finished; one of them alone proves little."""
        known = [cell for cell in self._finished if self.seconds.get(cell)]
        predicted = sum(self.seconds[cell] for cell in known)
        if not predicted:
            return 1.0
        trust = len(known) / (len(known) + 1)
        return trust * sum(self._finished[cell] for cell in known) / predicted + 1 - trust
