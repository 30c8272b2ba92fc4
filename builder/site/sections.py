"""The matrix as people read it: kernels by series, newest first, a column for each driver. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.site.facts import READY, CellState, minor_of, minors
from builder.sources.lock import natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from builder.site.facts import SiteCell, SiteDriver, SiteFacts

Column = tuple[str, str]
"""A driver and its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """A kernel with its cells by column; ``tail`` tells cells of one kernel apart that groups sign otherwise."""

    source: str
    kernel: str
    arch: str
    variant: str
    tail: str
    releases: tuple[str, ...]
    cells: Mapping[Column, SiteCell]

    @property
    def minors(self) -> tuple[str, ...]:
        return minors(self.releases)

    @property
    def states(self) -> tuple[CellState, ...]:
        return tuple(dict.fromkeys(cell.state for cell in self.cells.values()))

    @property
    def span(self) -> str:
        """Its releases in a few words."""
        if len(self.releases) < 3:  # noqa: PLR2004 - so many fit
            return ", ".join(self.releases)
        return f"{self.releases[0]} … {self.releases[-1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSection:
    """Kernels of one series of one source, newest first; what releases run it by minor version."""

    source: str
    series: str
    rows: tuple[MatrixRow, ...]

    @property
    def minors(self) -> tuple[str, ...]:
        found = dict.fromkeys(minor for row in self.rows for minor in row.minors)
        return tuple(sorted(found, key=natural_key))

    @property
    def counts(self) -> Mapping[CellState, int]:
        return count_states(cell for row in self.rows for cell in row.cells.values())

    @property
    def ready(self) -> int:
        return sum(number for state, number in self.counts.items() if state in READY)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def count_states(cells: Iterable[SiteCell]) -> Mapping[CellState, int]:
    """Return how many cells are in each state, in the order of states."""
    counts = Counter(cell.state for cell in cells)
    return {state: counts[state] for state in CellState if counts[state]}


def list_columns(facts: SiteFacts) -> list[Column]:
    """Return the drivers of versions.yaml, and then those that only cells know of."""
    return list(
        dict.fromkeys(
            [*((driver.name, driver.version) for driver in facts.drivers)]
            + [(cell.driver, cell.version) for cell in facts.cells]
        )
    )


def make_sections(facts: SiteFacts) -> list[MatrixSection]:
    """Return the matrix: series in the order of sources, the newest first in each."""
    rows: dict[tuple[str, str], dict[tuple[str, str], dict[Column, SiteCell]]] = {}
    for cell in facts.cells:
        tail = cell.id.partition("/")[2].removeprefix(cell.kernel)
        section = rows.setdefault((cell.source, cell.series), {})
        section.setdefault((cell.kernel, tail), {})[cell.driver, cell.version] = cell
    sources = list(dict.fromkeys(cell.source for cell in facts.cells))
    order = sorted(rows, key=lambda key: natural_key(key[1]), reverse=True)
    return [
        MatrixSection(source=source, series=series, rows=_make_rows(facts, rows[source, series]))
        for source, series in sorted(order, key=lambda key: sources.index(key[0]))
    ]


def _make_rows(facts: SiteFacts, rows: Mapping[tuple[str, str], Mapping[Column, SiteCell]]) -> tuple[MatrixRow, ...]:
    found = []
    for (kernel, tail), cells in sorted(rows.items(), key=lambda item: natural_key("".join(item[0])), reverse=True):
        first = next(iter(cells.values()))
        releases = facts.releases_of.get((first.source, kernel), ())
        found.append(
            MatrixRow(
                source=first.source, kernel=kernel, arch=first.arch, variant=first.variant, tail=tail,
                releases=releases, cells=cells,
            )
        )  # fmt: skip
    return tuple(found)


def name_drivers(drivers: Sequence[SiteDriver]) -> str:
    """Return drivers in a few words: as the head of a page has them."""
    if len(drivers) == 1:
        return f"{drivers[0].name} {drivers[0].version}"
    if len(drivers) <= 3:  # noqa: PLR2004 - so many fit
        return ", ".join(driver.name for driver in drivers)
    return f"{len(drivers)} drivers"


def list_minors(facts: SiteFacts) -> list[str]:
    """Return all minor versions of releases that run a kernel of a cell, newest first."""
    found = {
        minor_of(release) for cell in facts.cells for release in facts.releases_of.get((cell.source, cell.kernel), ())
    }
    return sorted(found, key=natural_key, reverse=True)
