"""The kernel matrix of the lock as rows: by kernel, or by release."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.kernel import Arch, Variant, parse_kernel_version
from builder.sources.lock import LockedDebian, LockedOpenShift, ReleaseState, natural_key
from builder.sources.openshift.releases import run_by, split_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from builder.kernel import KernelVersion
    from builder.sources.lock import Lock, LockedRelease, LockedSource, LockedStream


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
    """An operating system of a release. ``kernels`` maps what its nodes run, and its toolkit is for, to who says so."""

    source: str
    release: str
    arch: Arch
    stream: str
    state: ReleaseState
    build: str
    rhel: str
    runs: tuple[str, ...]
    kernels: Mapping[str, tuple[str, ...]]
    toolkit: str
    channels: Mapping[str, str]
    origin: tuple[str, ...]
    stale: str


def list_kernels(lock: Lock, view: View) -> list[KernelRow]:
    """Return the kernels of a view, oldest first within each source and architecture."""
    return [
        row
        for name, source in lock.sources.items()
        if not view.sources or name in view.sources
        for kernel in lock.kernel_versions(name)
        if view.takes(kernel)
        for row in (
            _node_kernel(name, source, kernel, view)
            if isinstance(source, LockedOpenShift)
            else _plain(name, kernel, view)
        )
    ]


def _plain(source: str, kernel: KernelVersion, view: View) -> Iterator[KernelRow]:
    if not view.releases and not view.states:
        yield KernelRow(
            source=source, kernel=kernel.raw, arch=kernel.arch, variant=kernel.variant, rhel="", releases=(),
            streams=(), states=(), toolkit="", toolkits=(), seen="",
        )  # fmt: skip


def _node_kernel(name: str, source: LockedOpenShift, kernel: KernelVersion, view: View) -> Iterator[KernelRow]:
    locked = source.kernels[kernel.raw]
    states = {
        stream.state: None
        for version in locked.releases
        for stream in source.releases[f"{version}-{kernel.arch}"].streams.values()
        if kernel.raw in stream.kernels
    }
    if not any(view.takes_release(version) for version in locked.releases):
        return
    if view.states and not states.keys() & set(view.states):
        return
    yield KernelRow(
        source=name, kernel=kernel.raw, arch=kernel.arch, variant=kernel.variant, rhel=locked.rhel,
        releases=locked.releases, streams=locked.streams, states=tuple(sorted(states)), toolkit=locked.toolkit,
        toolkits=locked.toolkits, seen=locked.seen,
    )  # fmt: skip


def list_notes(lock: Lock, view: View) -> list[str]:
    """Return what people must know of the sources of a view: answers that are old, and kernels that are left out."""
    return [
        f"source {name}: {note}"
        for name, source in lock.sources.items()
        if not view.sources or name in view.sources
        for note in _notes(source)
    ]


def _notes(source: LockedSource) -> Iterator[str]:
    if source.problem:
        yield f"all of it is the answer of {source.resolved}: the last reading failed ({source.problem})"
    for date in sorted(set(source.stale.values())):
        names = ", ".join(sorted((name for name, since in source.stale.items() if since == date), key=natural_key))
        yield f"the answer of {date} is kept for {names}"
    if isinstance(source, LockedDebian):
        yield from (f"{raw} is left out: {reason}" for raw, reason in source.left_out.items())


def list_releases(lock: Lock, view: View) -> list[ReleaseRow]:
    """Return the releases of a view, oldest first; one row for each of their operating systems."""
    rows = [
        row
        for name, source in lock.sources.items()
        if isinstance(source, LockedOpenShift) and (not view.sources or name in view.sources)
        for key in sorted(source.releases, key=natural_key)
        for row in _release_rows(name, key, source.releases[key])
    ]
    return [row for row in rows if _takes_row(view, row)]


def _release_rows(source: str, key: str, release: LockedRelease) -> Iterator[ReleaseRow]:
    version, arch = split_key(key)
    streams: Iterable[tuple[str, LockedStream | None]] = sorted(release.streams.items()) or [("", None)]
    for tag, stream in streams:
        yield ReleaseRow(
            source=source,
            release=version,
            arch=arch,
            stream=tag,
            state=stream.state if stream else release.states[0],
            build=stream.build if stream else "",
            rhel=stream.rhel if stream else "",
            runs=tuple(kernel.raw for kernel in run_by(stream)) if stream else (),
            kernels=stream.kernels if stream else {},
            toolkit=stream.toolkit if stream else "",
            channels=release.channels,
            origin=stream.origin if stream else (),
            stale=release.stale,
        )


def _takes_row(view: View, row: ReleaseRow) -> bool:
    kernels = [parse_kernel_version(raw) for raw in row.runs]
    has_kernel = any(view.takes(kernel) for kernel in kernels) or not (view.kernels or view.variants)
    return (
        view.takes_release(row.release)
        and (not view.arches or row.arch in view.arches)
        and (not view.states or row.state in view.states)
        and has_kernel
    )
