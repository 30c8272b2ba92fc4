"""What one more driver, channel or architecture would cost, by what is on record of builds. Pure.

Nothing is guessed: where nothing like it was built, fetched or published, the amount is not known, and it is said why.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from builder.evidence.records import CellOutcome
from builder.plan.prediction import wall_seconds
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from builder.evidence.records import BootEvidence, CellEvidence, PublishEvidence

_COMPILE, _TOOLKIT, _BOOT = "compile", "toolkit", "boot"
_TOOLKIT_WAS_MADE_S = 0.5
_MOST_NAMED = 3


class Addition(StrEnum):
    DRIVER = "driver"
    CHANNEL = "channel"
    ARCHITECTURE = "architecture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What it takes as cells took it on average, and if each took what 95 of 100 were within."""

    usual: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What an addition costs a group once; None is not known, and ``unknown`` says why.

    ``wall`` are seconds with ``workers`` cells at once, ``cpu`` seconds of processors, ``fetched`` bytes of toolkits
    and kernels that were not needed before, ``stored`` bytes of modules and firmware in images, ``sent`` bytes to
    registries. ``basis`` says what it was derived from.
    """

    addition: Addition
    group: str
    about: str
    kernels: int | None = None
    cells: int | None = None
    workers: int = 1
    wall: Amount | None = None
    cpu: Amount | None = None
    fetched: Amount | None = None
    stored: Amount | None = None
    sent: Amount | None = None
    basis: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelNeeds:
    """A kernel of a source, and the bytes of what it is built with and booted as, by name; empty: not known."""

    kernel: str
    arch: str
    downloads: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNow:
    """A group as it is, and what its source has beside it.

    ``taken`` are the kernels of its cells, ``others`` those that it would have of architectures that it does not take.
    ``minors`` counts the kernels that it would have of each minor version; empty where its source has no releases.
    ``boots`` tells whether cells are booted, ``recorded`` maps cells on record to source and architecture.
    """

    name: str
    source: str
    drivers: int
    taken: Sequence[KernelNeeds]
    others: Sequence[KernelNeeds] = ()
    minors: Mapping[str, int] = field(default_factory=dict)
    boots: bool = True
    workers: int = 1
    recorded: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A cell on record: source and architecture of its kernel, seconds, processor seconds, bytes in its image.

    None is not on record.
    """

    driver: str
    source: str
    arch: str
    seconds: float
    cpu: float | None
    stored: int


class Record:
    """What is on record of cells: each image once, as it was built last."""

    def __init__(
        self,
        builds: Iterable[CellEvidence],
        boots: Iterable[BootEvidence],
        publishes: Iterable[PublishEvidence],
    ) -> None:
        self.builds = [
            item
            for item in builds
            if item.outcome is CellOutcome.BUILT and not item.derived and item.timings.get(_COMPILE)
        ]
        self.boots = {item.cell: item.seconds for item in boots if item.passed}
        self.sent = [float(item.bytes_sent) for item in publishes if item.bytes_sent]
        self.toolkits = [
            (item.timings[_TOOLKIT], item.cpu.get(_TOOLKIT))
            for item in self.builds
            if item.timings.get(_TOOLKIT, 0.0) > _TOOLKIT_WAS_MADE_S
        ]

    def rows(self, now: GroupNow) -> list[_Row]:
        """Return the cells that count for a group: where it boots cells, those that were booted."""
        found = []
        for item in self.builds:
            if now.boots and item.cell not in self.boots:
                continue
            apart = {_TOOLKIT, _BOOT}
            seconds = sum(value for stage, value in item.timings.items() if stage not in apart)
            seconds += self.boots[item.cell] if now.boots else 0.0
            needed = {_COMPILE, _BOOT} if now.boots else {_COMPILE}
            cpu = sum(value for stage, value in item.cpu.items() if stage != _TOOLKIT and (now.boots or stage != _BOOT))
            source, arch = now.recorded.get(item.cell, ("", ""))
            found.append(
                _Row(
                    driver=item.driver, source=source, arch=arch, seconds=seconds,
                    cpu=cpu if needed <= item.cpu.keys() else None,
                    stored=sum(file.size for file in item.modules) + sum(file.size for file in item.firmware),
                )
            )  # fmt: skip
        return found


def quote_group(now: GroupNow, record: Record) -> list[Quote]:
    """Return what additions would cost a group: a driver, the channels of a minor version, each architecture."""
    return [_quote_driver(now, record), _quote_channel(now, record), *_quote_architectures(now, record)]


def _quote_driver(now: GroupNow, record: Record) -> Quote:
    about = f"one more for the {count(len(now.taken), 'kernel')} of group {now.name}"
    rows = _like(record.rows(now), now.source)
    return _sum_up(
        now, record, Addition.DRIVER, about, rows=rows, kernels=len(now.taken), cells=len(now.taken), toolkits=0,
        fetched=Amount(usual=0.0, most=0.0),
        said=("its toolkits are those of the drivers that are there",),
    )  # fmt: skip


def _quote_channel(now: GroupNow, record: Record) -> Quote:
    about = "the channels of one more minor version"
    if not now.minors:
        why = f"the source {now.source} has no channels, or the lock knows none of their kernels"
        return Quote(addition=Addition.CHANNEL, group=now.name, about=about, unknown=(why,))
    numbers = sorted(now.minors.values())
    kernels, most = round(statistics.median(numbers)), numbers[-1]
    largest = max(now.minors, key=lambda minor: now.minors[minor])
    said = (
        f"{count(kernels, 'kernel')}, as many as the middle one of {count(len(numbers), 'minor version')} of the lock "
        f"runs; the most are {most}, of {largest}"
    )
    return _sum_up(
        now, record, Addition.CHANNEL, about, rows=_like(record.rows(now), now.source), kernels=kernels,
        cells=kernels * now.drivers, toolkits=kernels, fetched=_typical(now.taken, kernels), said=(said,),
    )  # fmt: skip


def _quote_architectures(now: GroupNow, record: Record) -> list[Quote]:
    arches = sorted({kernel.arch for kernel in now.others})
    if not arches:
        taken = ", ".join(sorted({kernel.arch for kernel in now.taken}))
        why = f"the lock has no kernel of source {now.source} for another than {taken or 'those that it takes'}"
        return [Quote(addition=Addition.ARCHITECTURE, group=now.name, about="one more", unknown=(why,))]
    return [_quote_architecture(now, record, arch) for arch in arches]


def _quote_architecture(now: GroupNow, record: Record, arch: str) -> Quote:
    kernels = [kernel for kernel in now.others if kernel.arch == arch]
    there = {name for kernel in now.taken for name in kernel.downloads}
    new = {name: size for kernel in kernels for name, size in kernel.downloads.items() if name not in there}
    is_known = all(kernel.downloads for kernel in kernels)
    size = float(sum(new.values()))
    return _sum_up(
        now, record, Addition.ARCHITECTURE, arch, rows=[row for row in record.rows(now) if row.arch == arch],
        kernels=len(kernels), cells=len(kernels) * now.drivers, toolkits=len(kernels),
        fetched=Amount(usual=size, most=size) if is_known else None,
        said=(f"{count(len(kernels), 'kernel')}, as many as the lock knows",),
        lacking=f"no cell for {arch} was built here",
    )  # fmt: skip


def _like(rows: Sequence[_Row], source: str) -> list[_Row]:
    """Return the cells of a source; of others where there is none."""
    return [row for row in rows if row.source == source] or list(rows)


def _typical(kernels: Sequence[KernelNeeds], number: int) -> Amount | None:
    """Return what so many kernels fetch that share with others what these share."""
    if not kernels or not all(kernel.downloads for kernel in kernels):
        return None
    each = sum({name: size for kernel in kernels for name, size in kernel.downloads.items()}.values()) / len(kernels)
    alone = max(sum(kernel.downloads.values()) for kernel in kernels)
    return Amount(usual=each * number, most=float(alone * number))


def _sum_up(
    now: GroupNow,
    record: Record,
    addition: Addition,
    about: str,
    *,
    rows: Sequence[_Row],
    kernels: int,
    cells: int,
    toolkits: int,
    fetched: Amount | None,
    said: tuple[str, ...],
    lacking: str = "",
) -> Quote:
    """Multiply what cells and toolkits took, and say what is not in it."""
    seconds, cpu = _measure(row.seconds for row in rows), _measure(row.cpu for row in rows)
    made, made_cpu = _measure(item for item, _ in record.toolkits), _measure(item for _, item in record.toolkits)
    if not toolkits:
        made = made_cpu = Amount(usual=0.0, most=0.0)
    sent = _measure(record.sent) if rows else None
    unknown = [*_complain(now, record, rows, lacking=lacking)]
    if rows and cpu is None:
        unknown.append("these cells were built before processor time was recorded: nox -s build -- --force")
    if rows and made is None:
        unknown.append("no toolkit was made here: the time has none in it")
    if fetched is None:
        unknown.append(f"the lock does not say how large toolkits of {now.source} are")
    if rows and sent is None:
        unknown.append("nothing was published from here: bytes to registries are not known")
    return Quote(
        addition=addition, group=now.name, about=about, kernels=kernels, cells=cells, workers=now.workers,
        wall=_wall(seconds, made, cells=cells, toolkits=toolkits, workers=now.workers),
        cpu=_add(_times(cpu, cells), _times(made_cpu, toolkits)), fetched=fetched,
        stored=_times(_measure(float(row.stored) for row in rows), cells), sent=_times(sent, cells),
        basis=(*said, *_tell(rows)), unknown=tuple(unknown),
    )  # fmt: skip


def _complain(now: GroupNow, record: Record, rows: Sequence[_Row], *, lacking: str) -> Iterator[str]:
    if rows and all(row.source != now.source for row in rows):
        yield f"no cell of {now.source} was built here: times are those of {rows[0].source or 'other kernels'}"
    if rows:
        return
    if not record.builds:
        yield "no build is on record: nox -s build"
    else:
        yield lacking or "no cell is on record that was built and booted, as this group has it"


def _tell(rows: Sequence[_Row]) -> Iterator[str]:
    counted: dict[str, int] = {}
    for row in rows:
        counted[row.driver] = counted.get(row.driver, 0) + 1
    named = [f"{driver} ({count(number, 'cell')})" for driver, number in sorted(counted.items())]
    if named:
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        yield f"cells take what those on record took: {', '.join(named[:_MOST_NAMED])}{more}"


def _measure(values: Iterable[float | None]) -> Amount | None:
    """Return the average of what is known, and what 95 of 100 are within (nearest rank)."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    return Amount(usual=statistics.fmean(known), most=known[math.ceil(len(known) * 0.95) - 1])


def _times(each: Amount | None, number: int) -> Amount | None:
    return Amount(usual=each.usual * number, most=max(each.usual, each.most) * number) if each else None


def _add(one: Amount | None, other: Amount | None) -> Amount | None:
    if one is None or other is None:
        return one
    return Amount(usual=one.usual + other.usual, most=one.most + other.most)


def _wall(seconds: Amount | None, made: Amount | None, *, cells: int, toolkits: int, workers: int) -> Amount | None:
    """Return how long it takes; each toolkit is waited for by one cell."""
    if seconds is None:
        return None
    share = toolkits / cells if cells else 0.0
    toolkit = made or Amount(usual=0.0, most=0.0)
    usual, most = seconds.usual + toolkit.usual * share, max(seconds.usual, seconds.most) + toolkit.most * share
    return Amount(usual=wall_seconds([usual] * cells, workers), most=wall_seconds([most] * cells, workers))
