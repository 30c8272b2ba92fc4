"""How long kernels take from a channel to an image, and which are late now. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.publish.result import LOCAL
from builder.site.facts import CellState, is_built
from builder.site.statistics import percentile
from builder.sources.lock import natural_key
from builder.sources.openshift.changes import parse_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from builder.site.facts import SiteCell, SiteFacts

_HOUR_S = 3600
_NOBODY_WAITS = frozenset({CellState.NOT_WANTED, CellState.KNOWN_BAD, CellState.ACKNOWLEDGED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A cell's way from a channel to an image: ``seen`` and ``ready`` (UTC), and the hours between.

    ``by`` says what ``ready`` is: ``published`` (its first name in a registry) or ``built`` (its first image here).
    Where it is empty there is none yet, and ``hours`` count to now.
    """

    cell: SiteCell
    seen: str
    ready: str
    by: str
    hours: float

    @property
    def month(self) -> str:
        return self.ready[:7]


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """Hours from channel to image of all cells that became ready in a month (``2026-11``)."""

    month: str
    cells: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTimes:
    """Hours from channel to image of the cells of a kernel, which was ``seen`` then; ``waiting`` of them have none."""

    source: str
    kernel: str
    seen: str
    cells: int
    p50: float
    p95: float
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Those that came, oldest first, by month and by kernel, the newest first; those that are waited for."""

    came: tuple[Arrival, ...]
    late: tuple[Arrival, ...]
    """The longest first."""
    months: tuple[Month, ...]
    kernels: tuple[KernelTimes, ...]
    undated: int
    """Cells whose kernel was in a channel before anybody looked, or is in none: nothing can be said of them."""


def measure_arrivals(facts: SiteFacts) -> Arrivals:
    """Return how long every wanted cell took whose kernel was seen to come into a channel."""
    seen = {(row.source, row.kernel): row.seen for row in facts.kernels}
    published, built = _first_names(facts), _first_images(facts)
    came: list[Arrival] = []
    late: list[Arrival] = []
    undated = 0
    for cell in facts.cells:
        since = seen.get((cell.source, cell.kernel), "")
        if cell.state in _NOBODY_WAITS:
            continue
        if not since:
            undated += 1
            continue
        ready, by = (published[cell.id], "published") if cell.id in published else (built.get(cell.id, ""), "built")
        arrival = Arrival(
            cell=cell, seen=since, ready=ready, by=by if ready else "", hours=_hours(since, ready, facts.made)
        )
        (came if ready else late).append(arrival)
    came.sort(key=lambda item: (item.ready, item.cell.id))
    late.sort(key=lambda item: (-item.hours, item.cell.id))
    return Arrivals(
        came=tuple(came), late=tuple(late), months=tuple(_by_month(came)),
        kernels=tuple(_by_kernel(came, late)), undated=undated,
    )  # fmt: skip


def _first_names(facts: SiteFacts) -> Mapping[str, str]:
    """Return when each cell was first published, by its id."""
    return _earliest((item.cell, item.finished) for item in facts.publishes if not item.name.startswith(LOCAL))


def _first_images(facts: SiteFacts) -> Mapping[str, str]:
    """Return when each cell was first built; of an image that was only found again that is not known."""
    return _earliest((item.cell, item.finished) for item in facts.builds if is_built(item) and not item.derived)


def _earliest(times: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for cell, time in times:
        found[cell] = min(time, found.get(cell, time))
    return found


def _hours(since: str, ready: str, now: datetime) -> float:
    """Return the hours between; none where the image was there first, made for another channel."""
    end = parse_time(ready) or now
    return max(0.0, (end - parse_date(since)).total_seconds() / _HOUR_S)


def parse_time(text: str) -> datetime | None:
    """Return a time of a record; None where it is none, as a journal of somebody else's may have it."""
    try:
        return parse_date(text) if text else None
    except ValueError:
        return None


def _by_month(came: Iterable[Arrival]) -> Iterable[Month]:
    months: dict[str, list[float]] = {}
    for item in came:
        months.setdefault(item.month, []).append(item.hours)
    for month, hours in sorted(months.items()):
        yield Month(month=month, cells=len(hours), p50=percentile(hours, 50), p95=percentile(hours, 95))


def _by_kernel(came: Iterable[Arrival], late: Iterable[Arrival]) -> Iterable[KernelTimes]:
    hours: dict[tuple[str, str, str], list[float]] = {}
    for item in came:
        hours.setdefault((item.seen, item.cell.source, item.cell.kernel), []).append(item.hours)
    waiting = Counter((item.seen, item.cell.source, item.cell.kernel) for item in late)
    for key, found in sorted(hours.items(), key=lambda item: (item[0][0], natural_key(item[0][2])), reverse=True):
        seen, source, kernel = key
        yield KernelTimes(
            source=source, kernel=kernel, seen=seen, cells=len(found), p50=percentile(found, 50),
            p95=percentile(found, 95), waiting=waiting[key],
        )  # fmt: skip
