"""Failures once per cause: since when, which kernels share it, and the compiler's own lines. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.evidence.clusters import cluster
from builder.site.facts import READY, CellState
from builder.sources.lock import natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from builder.errors import Failure
    from builder.evidence.records import CellEvidence
    from builder.kmod.compat import Drift
    from builder.site.facts import SiteCell, SiteFacts

_BROKEN = frozenset({CellState.FAILED, CellState.UNKNOWN})
_LINES_AFTER = 7
# How compilers quote source below an error: "   12 |     foo();" and a line with the place marked.
_QUOTED = re.compile(r"\s*(\d+)?\s*\|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Cells that failed for one cause, oldest kernel first; ``since`` (UTC) is when the first of them did.

    ``last_good`` is the nearest older kernel of the same variant and architecture (of the same series, if one is) whose
    cell of the same driver is green: what changed after it is behind the failure. ``kernel`` is the one that it is
    compared with. Where there is none, ``next_good`` is the nearest newer one. ``changes`` are those symbols that the
    compiler complains about and that differ between the two.
    """

    failure: Failure
    cells: tuple[SiteCell, ...]
    since: str
    last_good: str = ""
    kernel: str = ""
    next_good: str = ""
    changes: tuple[Drift, ...] = ()

    @property
    def before(self) -> str:
        """The older of the two kernels between which to look; empty where no kernel is known to be good."""
        return self.last_good or (self.cells[-1].kernel if self.next_good else "")

    @property
    def after(self) -> str:
        return self.kernel or self.next_good


def find_causes(facts: SiteFacts) -> list[Cause]:
    """Return the causes of cells that failed or whose infrastructure did, the most frequent first."""
    broken = {
        cell.id: cell for cell in facts.cells if cell.state in _BROKEN and cell.evidence and cell.evidence.failure
    }
    failures = {name: cell.evidence.failure for name, cell in broken.items() if cell.evidence and cell.evidence.failure}
    history = _by_cell(facts.builds)
    return [
        _describe(facts, sorted((broken[name] for name in item.cells), key=_age), item.failure, history)
        for item in cluster(failures)
    ]


def _describe(
    facts: SiteFacts, broken: Sequence[SiteCell], failure: Failure, history: Mapping[str, Sequence[CellEvidence]]
) -> Cause:
    first = broken[0]
    good = _find_last_good(facts.cells, first)
    return Cause(
        failure=failure,
        cells=tuple(broken),
        since=min(_find_since(history.get(cell.id, ()), failure) or "9" for cell in broken).strip("9"),
        last_good=good,
        kernel=first.kernel if good else "",
        next_good="" if good else _find_next_good(facts.cells, broken[-1]),
        changes=facts.changes.get(first.id, ()),
    )


def _by_cell(builds: Iterable[CellEvidence]) -> dict[str, list[CellEvidence]]:
    found: dict[str, list[CellEvidence]] = {}
    for item in builds:
        found.setdefault(item.cell, []).append(item)
    return found


def _age(cell: SiteCell) -> tuple[object, ...]:
    return (natural_key(cell.kernel), cell.driver, cell.version)


def _find_since(history: Sequence[CellEvidence], failure: Failure) -> str:
    """Return when the last unbroken row of the same failure began; empty where none is on record."""
    since = ""
    for item in reversed(history):
        if item.failure is None or (item.failure.failure_class, item.failure.code) != (
            failure.failure_class, failure.code
        ):  # fmt: skip
            break
        since = item.finished
    return since


def _find_last_good(cells: Iterable[SiteCell], broken: SiteCell) -> str:
    """Return the nearest older kernel that is green; one of an older series where its own has none."""
    age = natural_key(broken.kernel)
    older = [cell for cell in _find_good(cells, broken) if natural_key(cell.kernel) < age]
    own = [cell.kernel for cell in older if cell.series == broken.series]
    return max(own or [cell.kernel for cell in older], key=natural_key, default="")


def _find_next_good(cells: Iterable[SiteCell], broken: SiteCell) -> str:
    """Return the nearest newer kernel that is green; one of a newer series where its own has none."""
    age = natural_key(broken.kernel)
    newer = [cell for cell in _find_good(cells, broken) if natural_key(cell.kernel) > age]
    own = [cell.kernel for cell in newer if cell.series == broken.series]
    return min(own or [cell.kernel for cell in newer], key=natural_key, default="")


def _find_good(cells: Iterable[SiteCell], broken: SiteCell) -> Iterator[SiteCell]:
    def family(cell: SiteCell) -> tuple[str, ...]:
        return cell.driver, cell.source, cell.variant, cell.arch

    return (cell for cell in cells if cell.state in READY and family(cell) == family(broken))


def find_source_lines(log: str, failure: Failure) -> str:
    """Return the lines of a log from the first real error on, with the source that the compiler quotes."""
    if not failure.detail:
        return ""
    lines = log.splitlines()
    said = failure.detail.strip()
    start = next((number for number, line in enumerate(lines) if said in line), None)
    if start is None:
        return ""
    found = [lines[start]]
    for line in lines[start + 1 : start + 1 + _LINES_AFTER]:
        if not _QUOTED.match(line):
            break
        found.append(line)
    return "\n".join(found)
