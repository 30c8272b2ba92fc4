"""Drivers times kernels: which cells exist, and which are left out with a stated reason. Pure."""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from typing import TYPE_CHECKING

from builder.config.release_kinds import kind_of
from builder.errors import LockFileError, UsageError, printable
from builder.kernel import parse_kernel_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from builder.config.model.config import Config
    from builder.config.model.driver import Driver
    from builder.config.model.group import Group
    from builder.kernel import Arch, KernelVersion, Variant
    from builder.sources.lock import Lock


_MOST_NAMED = 20
_MOST_OF_KIND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One driver version for one kernel version; ``suffix`` tells it from that of a group that signs otherwise."""

    driver: str
    driver_version: str
    kernel: KernelVersion
    source: str
    suffix: str = ""

    @property
    def id(self) -> str:
        """Printable key; also the cell's folder below the work folder."""
        return f"{self.driver}-{self.driver_version}/{self.kernel.raw}{self.suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A cell that is not built: code ``excluded`` or ``known-bad``, and what versions.yaml says about it.

    Or ``kernel-incomplete``, and what its source lacks; or ``release-kind``, and which releases run its kernel.
    """

    cell: Cell
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """What is asked for; empty means everything of the group. ``cells`` are ids, for who knows exactly which."""

    group: str | None = None
    drivers: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    arches: tuple[Arch, ...] = ()
    variants: tuple[Variant, ...] = ()
    cells: frozenset[str] = frozenset()

    def takes_cell(self, cell: Cell) -> bool:
        return not self.cells or cell.id in self.cells

    def takes_kernel(self, kernel: KernelVersion) -> bool:
        return (
            (not self.kernels or matches_any(kernel.raw, self.kernels))
            and (not self.arches or kernel.arch in self.arches)
            and (not self.variants or kernel.variant in self.variants)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    cells: tuple[Cell, ...]
    left_out: tuple[LeftOut, ...]


def matches_any(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def make_matrix(config: Config, lock: Lock, selector: Selector) -> Matrix:
    """Return the selected cells, in the order of drivers and then of kernels.

    Raises:
        UsageError: no such group, or the selectors match nothing.
        LockFileError: the lock does not hold the group's kernel source.
    """
    group_name = selector.group or config.default_group
    group = config.groups.get(group_name)
    if group is None:
        raise UsageError(f"there is no group {group_name!r} in versions.yaml", hint=nearest(group_name, config.groups))
    drivers = [
        driver for driver in config.drivers if not selector.drivers or matches_any(driver.name, selector.drivers)
    ]
    if not drivers:
        names = [driver.name for driver in config.drivers]
        raise UsageError(f"no driver matches {', '.join(selector.drivers)}", hint=nearest(selector.drivers[0], names))
    found = _choose_kernels(group, group_name, lock)
    kernels = [kernel for kernel in found.taken if selector.takes_kernel(kernel)]
    of_other_kinds = {kernel: why for kernel, why in found.of_other_kinds.items() if selector.takes_kernel(kernel)}
    if not kernels:
        raise _nothing_matches(group_name, of_other_kinds)
    made = [_make_cell(driver, kernel, group) for driver in drivers for kernel in kernels]
    cells = [cell for cell in made if selector.takes_cell(cell)]
    if not cells:
        raise _nothing_matches(group_name, of_other_kinds)
    left_out = {cell.id: entry for cell in cells if (entry := find_left_out(cell, config)) is not None}
    incomplete = _incomplete_kernels(group, kernels, lock)
    for code, kernel, reason in [
        *(("kernel-incomplete", kernel, why) for kernel, why in incomplete if selector.takes_kernel(kernel)),
        *(("release-kind", kernel, why) for kernel, why in of_other_kinds.items()),
    ]:
        for cell in filter(selector.takes_cell, (_make_cell(driver, kernel, group) for driver in drivers)):
            left_out[cell.id] = find_left_out(cell, config) or LeftOut(cell=cell, code=code, reason=reason)
    kept = [cell for cell in cells if cell.id not in left_out] if left_out else cells
    return Matrix(cells=tuple(kept), left_out=tuple(left_out.values()))


def _nothing_matches(group: str, of_other_kinds: Mapping[KernelVersion, str]) -> UsageError:
    if not of_other_kinds:
        hint = "'plan' without selectors shows the kernels of a group; '--group' chooses another"
        return UsageError(f"no kernel of group {group!r} matches", hint=hint)
    first, why = next(iter(of_other_kinds.items()))
    more = f" (and {len(of_other_kinds) - 1} more)" if len(of_other_kinds) > 1 else ""
    return UsageError(
        f"no kernel of group {group!r} matches: {first} is left out{more}: {why}",
        hint="the group's 'include' in versions.yaml says which kinds of releases count",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """Kernels of a group, oldest first within each architecture, and those that only its ``include`` leaves out."""

    taken: Sequence[KernelVersion]
    of_other_kinds: Mapping[KernelVersion, str]


def find_kinds_left_out(config: Config, lock: Lock) -> dict[str, Mapping[KernelVersion, str]]:
    """Return, by group, the kernels that only releases run whose kinds the group does not include, with the reason."""
    found = {
        name: _choose_kernels(group, name, lock).of_other_kinds
        for name, group in config.groups.items()
        if group.source in lock.sources
    }
    return {name: kernels for name, kernels in found.items() if kernels}


def _choose_kernels(group: Group, name: str, lock: Lock) -> _Chosen:
    if group.source not in lock.sources:
        raise LockFileError(
            f"versions.lock.yaml has no kernels of source {group.source!r}, which group {name!r} needs",
            hint=f"run 'nox -s discover -- --source {group.source}'",
        )
    taken: list[KernelVersion] = []
    others: dict[KernelVersion, str] = {}
    for kernel in lock.kernel_versions(group.source):
        if not _takes(group, kernel):
            continue
        run = lock.sources[group.source].node_kernel(kernel)
        releases = [version for version in run.releases if _is_meant(group, version)] if run else []
        if run is None or any(_counts(group, version) for version in releases):
            taken.append(kernel)
        elif releases:
            by = f"of the releases of group {name!r}, it is run by {_shorten(releases)} only"
            others[kernel] = f"{by}, and the group includes {', '.join(group.include)}"
    if not group.newest:
        return _Chosen(taken=taken, of_other_kinds=others)
    newest = set(_newest_of_each([*taken, *others]))
    return _Chosen(
        taken=_newest_of_each(taken), of_other_kinds={kernel: why for kernel, why in others.items() if kernel in newest}
    )


def _is_meant(group: Group, version: str) -> bool:
    return not group.releases or matches_any(version, group.releases)


def _counts(group: Group, version: str) -> bool:
    """Tell whether a release is of a kind that a group includes, or is named by its full name."""
    return kind_of(version) in group.include or version in group.releases


def _shorten(words: Sequence[str]) -> str:
    more = f" and {len(words) - _MOST_OF_KIND} more" if len(words) > _MOST_OF_KIND else ""
    return f"{', '.join(words[:_MOST_OF_KIND])}{more}"


def _takes(group: Group, kernel: KernelVersion) -> bool:
    return matches_any(kernel.raw, group.kernels) and kernel.arch in group.arches and kernel.variant in group.variants


def _incomplete_kernels(
    group: Group, chosen: Sequence[KernelVersion], lock: Lock
) -> Iterator[tuple[KernelVersion, str]]:
    """Yield the kernels of a group that its source does not have whole; of those before the newest nobody asks."""
    reasons = lock.sources[group.source].incomplete()
    kernels = []
    for raw in reasons:
        with contextlib.suppress(UsageError):  # a name that is no kernel's; discover told it
            kernels.append(parse_kernel_version(raw))
    wanted = [kernel for kernel in kernels if _takes(group, kernel)]
    newest = set(_newest_of_each([*chosen, *wanted])) if group.newest else set(wanted)
    yield from ((kernel, reasons[kernel.raw]) for kernel in wanted if kernel in newest)


def _newest_of_each(kernels: list[KernelVersion]) -> list[KernelVersion]:
    """Keep the newest kernel of each series, variant and architecture."""

    def family(kernel: KernelVersion) -> tuple[str, str, str]:
        return kernel.arch, kernel.series, kernel.variant

    ordered = sorted(kernels, key=lambda kernel: (family(kernel), kernel.sort_key))
    newest = [list(members)[-1] for _, members in groupby(ordered, key=family)]
    return sorted(newest, key=lambda kernel: kernel.sort_key)


def _make_cell(driver: Driver, kernel: KernelVersion, group: Group) -> Cell:
    return Cell(
        driver=driver.name, driver_version=driver.version, kernel=kernel, source=group.source, suffix=group.tag_suffix
    )


def find_name_takers(config: Config, lock: Lock, name: str) -> dict[str, tuple[Cell, ...]]:
    """Return, by group, the cells that another group has as well, and signs otherwise: both are one name's.

    What is excluded or known to be bad has no image, so nobody takes its name.
    """
    group = config.groups[name]
    others = [
        other
        for other, settings in config.groups.items()
        if settings.signers != group.signers and settings.tag_suffix == group.tag_suffix
    ]
    if not others:
        return {}
    own = {cell.id: cell for cell in make_matrix(config, lock, Selector(group=name)).cells}
    found: dict[str, tuple[Cell, ...]] = {}
    for other in others:
        with contextlib.suppress(UsageError, LockFileError):  # it has no kernels now
            cells = make_matrix(config, lock, Selector(group=other)).cells
            if shared := tuple(own[cell.id] for cell in cells if cell.id in own):
                found[other] = shared
    return found


def find_left_out(cell: Cell, config: Config) -> LeftOut | None:
    """Return why versions.yaml leaves a cell out; None if it does not."""
    for entry in config.exclude:
        if fnmatchcase(cell.driver, entry.driver) and fnmatchcase(cell.kernel.raw, entry.kernel):
            return LeftOut(cell=cell, code="excluded", reason=printable(entry.reason))
    for bad in config.known_bad:
        if fnmatchcase(cell.driver, bad.driver) and fnmatchcase(cell.kernel.raw, bad.kernel):
            reason = f"{bad.reason} (owner {bad.owner}, until {bad.expires})"
            return LeftOut(cell=cell, code="known-bad", reason=printable(reason))
    return None


def nearest(word: str, words: Iterable[str]) -> str:
    """Return a hint that names the word that was probably meant, or some of those that there are."""
    known = list(dict.fromkeys(words))
    if near := difflib.get_close_matches(word, known, n=1):
        return f"did you mean {near[0]!r}?"
    if not known:
        return "there is none"
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return f"there are: {', '.join(known[:_MOST_NAMED])}{more}"
