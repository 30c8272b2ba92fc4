"""What runs cost: seconds by stage, what was compiled and what was there already. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.site.facts import is_built
from builder.site.statistics import percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from builder.evidence.records import CellEvidence
    from builder.site.facts import SiteFacts

STAGES = ("toolkit", "compile", "fit", "sign", "assemble", "verify", "boot", "store")
"""In the order in which a cell comes through them."""
_COMPILE = "compile"
_MADE_S = 0.5
"""Finding a toolkit takes no time worth telling; anything above was making one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTrend:
    """A run that left evidence: cells by what was done, medians of the stages' seconds.

    ``compiled`` cells were compiled in it; ``reused`` ones got an image of modules that were compiled before;
    ``tested`` ones had their image already.
    """

    run: str
    started: str
    finished: str
    compiled: int
    reused: int
    tested: int
    failed: int
    medians: Mapping[str, float]

    @property
    def cells(self) -> int:
        return self.compiled + self.reused + self.tested + self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTrend:
    """Seconds of a stage over all cells that came through it."""

    stage: str
    cells: int
    p50: float
    p95: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trends:
    """Runs, oldest first, and stages in order."""

    runs: tuple[RunTrend, ...]
    stages: tuple[StageTrend, ...]


def measure_trends(facts: SiteFacts) -> Trends:
    """Return what is on record of runs and stages."""
    runs: dict[str, list[CellEvidence]] = {}
    for item in facts.builds:
        if not item.derived:
            runs.setdefault(item.run, []).append(item)
    known: set[tuple[str, str, str]] = set()
    found = [_describe_run(run, items, known) for run, items in runs.items()]
    seconds = _seconds_by_stage(item for item in _once(facts.builds) if is_built(item))
    stages = [
        StageTrend(
            stage=stage, cells=len(values), p50=percentile(values, 50), p95=percentile(values, 95), most=max(values)
        )
        for stage, values in seconds.items()
    ]
    return Trends(runs=tuple(sorted(found, key=lambda run: (run.started, run.run))), stages=tuple(stages))


def _describe_run(run: str, items: Sequence[CellEvidence], known: set[tuple[str, str, str]]) -> RunTrend:
    compiled = reused = tested = failed = 0
    fresh = []
    for item in items:
        identity = _identity(item)
        is_new = identity not in known
        known.add(identity)
        if is_new:
            fresh.append(item)
        if item.failure:
            failed += 1
        elif not is_new:
            tested += 1
        elif _COMPILE in item.timings:
            compiled += 1
        else:
            reused += 1
    medians = {stage: percentile(values, 50) for stage, values in _seconds_by_stage(fresh or items).items()}
    return RunTrend(
        run=run, started=min(item.started if item in fresh and item.started else item.finished for item in items),
        finished=max(item.finished for item in items), compiled=compiled, reused=reused, tested=tested, failed=failed,
        medians=medians,
    )  # fmt: skip


def _identity(item: CellEvidence) -> tuple[str, str, str]:
    """Return what tells an image from others: what is tested again has the start of its build."""
    return item.cell, item.key, item.started


def _once(builds: Iterable[CellEvidence]) -> Iterable[CellEvidence]:
    """Yield the evidence of each image once: its latest, which has the seconds of all of its stages."""
    return {_identity(item): item for item in builds if not item.derived}.values()


def _seconds_by_stage(items: Iterable[CellEvidence]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for item in items:
        for stage, seconds in item.timings.items():
            if stage != STAGES[0] or seconds > _MADE_S:
                found.setdefault(stage, []).append(seconds)
    order = {stage: number for number, stage in enumerate(STAGES)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
