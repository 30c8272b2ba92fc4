"""What a release changes for who runs it: which kernels it brings, and whether there are images for them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING

from builder.site.facts import READY, CellState, minor_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.site.facts import SiteCell, SiteFacts
    from builder.sources.listing import ReleaseRow

_Kernel = tuple[str, str]
"""Source and kernel."""


class Outlook(StrEnum):
    """Whether nodes keep their drivers when they get a release, as far as is on record here."""

    READY = "ready"
    MISSING = "missing"
    """For a kernel that it brings there is no image of a driver, or none that is proven."""
    UNKNOWN = "unknown"
    """Which kernels it runs is not known, or is disputed."""
    NOT_PLANNED = "not-planned"
    """No group of versions.yaml asks for its kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseNews:
    """A release for one architecture: its operating systems, and what it changes against the one before it.

    ``new`` are kernels that its nodes run and those of ``previous`` do not. ``ready`` and ``wanted`` count cells of its
    kernels; ``lacking`` are those that are wanted and not green.
    """

    release: str
    arch: str
    source: str
    rows: tuple[ReleaseRow, ...]
    kernels: tuple[str, ...]
    new: tuple[str, ...]
    previous: str
    verdict: Outlook
    ready: int
    wanted: int
    lacking: tuple[SiteCell, ...]

    @property
    def minor(self) -> str:
        return minor_of(self.release)

    @property
    def id(self) -> str:
        return f"{self.release}-{self.arch}"


def tell_releases(facts: SiteFacts) -> list[ReleaseNews]:
    """Return all releases, oldest first within each source."""
    cells: dict[_Kernel, list[SiteCell]] = {}
    for cell in facts.cells:
        cells.setdefault((cell.source, cell.kernel), []).append(cell)
    return list(_tell(facts.releases, cells))


def _tell(rows: Sequence[ReleaseRow], cells: Mapping[_Kernel, Sequence[SiteCell]]) -> Iterator[ReleaseNews]:
    before: dict[tuple[str, str], ReleaseNews] = {}
    for (source, release, arch), group in groupby(rows, key=lambda row: (row.source, row.release, row.arch)):
        streams = tuple(group)
        kernels = tuple(dict.fromkeys(kernel for row in streams for kernel in row.runs))
        previous = before.get((source, arch))
        asked = [cell for kernel in kernels for cell in cells.get((source, kernel), ())]
        wanted = [cell for cell in asked if cell.state is not CellState.NOT_WANTED]
        lacking = tuple(cell for cell in wanted if cell.state not in READY)
        news = ReleaseNews(
            release=release, arch=arch, source=source, rows=streams, kernels=kernels,
            new=tuple(kernel for kernel in kernels if previous and kernel not in previous.kernels),
            previous=previous.release if previous else "",
            verdict=_judge(streams, kernels, cells, source, lacking=bool(lacking)),
            ready=len(wanted) - len(lacking), wanted=len(wanted), lacking=lacking,
        )  # fmt: skip
        if kernels:
            before[source, arch] = news
        yield news


def _judge(
    rows: Sequence[ReleaseRow],
    kernels: Sequence[str],
    cells: Mapping[_Kernel, Sequence[SiteCell]],
    source: str,
    *,
    lacking: bool,
) -> Outlook:
    if any(not row.runs or row.disputed for row in rows):
        return Outlook.UNKNOWN
    if not all(cells.get((source, kernel)) for kernel in kernels):
        return Outlook.NOT_PLANNED
    return Outlook.MISSING if lacking else Outlook.READY
