"""The kernel matrix of the lock as rows, for people and programs: by kernel, or by release. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.sources.lock import LockedNodeKernel, natural_key
from builder.sources.release import ReleaseState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.kernel import Arch, KernelVersion, Variant
    from builder.sources.lock import Lock, LockedSource
    from builder.sources.release import Release, ReleaseStream


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What to show; empty means everything."""

    sources: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    arches: tuple[Arch, ...] = ()
    variants: tuple[Variant, ...] = ()
    states: tuple[ReleaseState, ...] = ()

    def takes(self, kernel: KernelVersion) -> bool:
        return (
            (not self.kernels or any(fnmatchcase(kernel.raw, glob) for glob in self.kernels))
            and (not self.arches or kernel.arch in self.arches)
            and (not self.variants or kernel.variant in self.variants)
        )

    def takes_release(self, version: str) -> bool:
        return not self.releases or any(fnmatchcase(version, glob) for glob in self.releases)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRow:
    """A kernel: who runs it, what it is built with, and what is known of it. Dates are UTC, pullspecs by digest."""

    source: str
    kernel: str
    arch: Arch
    variant: Variant
    rhel: str
    releases: tuple[str, ...]
    streams: tuple[str, ...]
    states: tuple[ReleaseState, ...]
    """States of the releases that run it, each once."""
    toolkit: str
    toolkits: tuple[str, ...]
    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """An operating system of a release, or a release of which none is known.

    ``kernels`` maps what its nodes run, and its toolkit is for, to who says so.
    """

    source: str
    release: str
    arch: Arch
    stream: str = ""
    state: ReleaseState
    build: str = ""
    rhel: str = ""
    runs: tuple[str, ...] = ()
    kernels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    toolkit: str = ""
    channels: Mapping[str, str] = field(default_factory=dict)
    origin: tuple[str, ...] = ()
    stale: str = ""
    disputed: tuple[str, ...] = ()
    """Other payloads that are served as the same release."""


_RUN_BY_NOTHING = LockedNodeKernel(releases=(), streams=())


def list_kernels(lock: Lock, view: View) -> list[KernelRow]:
    """Return the kernels of a view, oldest first within each source and architecture."""
    return [
        row
        for name, source in lock.sources.items()
        if not view.sources or name in view.sources
        for row in _kernel_rows(name, source, lock.kernel_versions(name), view)
    ]


def _kernel_rows(name: str, source: LockedSource, kernels: list[KernelVersion], view: View) -> Iterator[KernelRow]:
    states = _states_by_kernel(source)
    for kernel in filter(view.takes, kernels):
        run = source.node_kernel(kernel) or _RUN_BY_NOTHING
        found = {state for version in run.releases for state in states.get((kernel, version), ())}
        if _takes_kernel_of(view, run, found):
            yield KernelRow(
                source=name, kernel=kernel.raw, arch=kernel.arch, variant=kernel.variant, rhel=run.rhel,
                releases=run.releases, streams=run.streams, states=tuple(sorted(found)), toolkit=run.toolkit,
                toolkits=run.toolkits, seen=run.seen,
            )  # fmt: skip


def _states_by_kernel(source: LockedSource) -> Mapping[tuple[KernelVersion, str], set[ReleaseState]]:
    """Return the states of operating systems by kernel and release."""
    found: dict[tuple[KernelVersion, str], set[ReleaseState]] = {}
    for release in source.list_releases():
        for stream in release.streams:
            for kernel in stream.kernels:
                found.setdefault((kernel, release.version), set()).add(stream.state)
    return found


def _takes_kernel_of(view: View, run: LockedNodeKernel, states: set[ReleaseState]) -> bool:
    """Tell whether a view wants a kernel, by the releases that run it: one that none runs has no state either."""
    has_release = not view.releases or any(map(view.takes_release, run.releases))
    return has_release and (not view.states or bool(states & set(view.states)))


def list_notes(lock: Lock, view: View) -> list[str]:
    """Return what people must know of the sources of a view: answers that are old, and kernels that are left out."""
    return [
        f"source {name}: {note}"
        for name, source in lock.sources.items()
        if not view.sources or name in view.sources
        for note in _notes(source, view)
    ]


def _notes(source: LockedSource, view: View) -> Iterator[str]:
    if source.problem:
        yield f"all of it is the answer of {source.resolved}: the last reading failed ({source.problem})"
    for date in sorted(set(source.stale.values())):
        names = ", ".join(sorted((name for name, since in source.stale.items() if since == date), key=natural_key))
        yield f"the answer of {date} is kept for {names}"
    yield from (f"{raw} is left out: {reason}" for raw, reason in source.incomplete().items())
    for release in source.list_releases():
        if release.disputed and view.takes_release(release.version):
            number = len(release.disputed) + 1
            yield f"{release.version} {release.arch}: {number} payloads are served as it; which nodes run is not known"
    for gone in source.list_withdrawals():
        if view.takes_release(gone.version) and (not view.arches or gone.arch in view.arches):
            yield f"{gone.version} {gone.arch} {gone}"


def list_releases(lock: Lock, view: View) -> list[ReleaseRow]:
    """Return the releases of a view, oldest first; one row for each of their operating systems."""
    return [
        row
        for name, source in lock.sources.items()
        if not view.sources or name in view.sources
        for stream, row in _rows_of_source(name, source, view)
        if _takes_row(view, row, stream.runs if stream else ())
    ]


def _rows_of_source(name: str, source: LockedSource, view: View) -> Iterator[tuple[ReleaseStream | None, ReleaseRow]]:
    for release in source.list_releases():
        yield from _release_rows(name, release)
    for gone in source.list_withdrawals() if ReleaseState.WITHDRAWN in view.states else ():
        yield None, ReleaseRow(source=name, release=gone.version, arch=gone.arch, state=ReleaseState.WITHDRAWN)


def _release_rows(source: str, release: Release) -> Iterator[tuple[ReleaseStream | None, ReleaseRow]]:
    for stream in sorted(release.streams, key=lambda stream: stream.tag):
        yield stream, ReleaseRow(
            source=source, release=release.version, arch=release.arch, stream=stream.tag, state=stream.state,
            build=stream.build, rhel=stream.rhel, runs=tuple(kernel.raw for kernel in stream.runs),
            kernels={str(kernel): words for kernel, words in stream.kernels.items()}, toolkit=stream.toolkit,
            channels=release.channels, origin=stream.origin, stale=release.stale, disputed=release.disputed,
        )  # fmt: skip
    if not release.streams:
        yield None, ReleaseRow(
            source=source, release=release.version, arch=release.arch, state=release.state, channels=release.channels,
            stale=release.stale, disputed=release.disputed,
        )  # fmt: skip


def _takes_row(view: View, row: ReleaseRow, kernels: Sequence[KernelVersion]) -> bool:
    has_kernel = any(view.takes(kernel) for kernel in kernels) or not (view.kernels or view.variants)
    return (
        view.takes_release(row.release)
        and (not view.arches or row.arch in view.arches)
        and (not view.states or row.state in view.states)
        and has_kernel
    )
