"""Kernel sources OpenShift and OKD: from the update graph to kernels and toolkits, by registry metadata alone.

Graph -> release payload -> its ``image-references`` -> for each operating system its toolkit's release file, the
kernel that the operating system image itself names, and the rt and 64k kernels of its extensions. No image is pulled:
what is read are manifests, configurations and the top layers. All of it is by digest, so it is read once; the lock is
the memory, and a machine without a cache reads only what is new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.errors import SourceError
from builder.host.progress import no_progress
from builder.sources.doubt import Doubt, summarize
from builder.sources.openshift.graph import ask_graph
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease, LockedStream, LockedWithdrawal
from builder.sources.openshift.node_kernels import derive_kernels, replaceable_toolkits, toolkits_by_kernel
from builder.sources.openshift.release_reader import Reading, ReleaseReader, find_gone, read_given, read_releases
from builder.sources.openshift.releases import choose_releases, why_left_out
from builder.sources.openshift.witnesses import state_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    import httpx

    from builder.config.model.openshift import OpenShiftKernels
    from builder.host.progress import Progress
    from builder.kernel import KernelVersion
    from builder.registry.reader import Registry
    from builder.sources.lock import LockedNodeKernel
    from builder.sources.openshift.releases import ChosenReleases
    from builder.sources.provider import DiscoverOptions


@dataclass(slots=True)
class OpenShiftAnswer:
    """A source's new lock, and what is to be said about it."""

    locked: LockedOpenShift
    lost: dict[str, str]
    """Releases that left, with the stated reason."""
    doubts: list[Doubt] = field(default_factory=list)
    """What could not be read or is not believed; the lock holds the older answers."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Toolkits that no kernel keeps for which a release brings another, with the reason."""
    read: int = 0
    """Releases that were read."""
    bytes_read: int = 0

    @property
    def problems(self) -> list[str]:
        return summarize(self.doubts)


def discover(
    settings: OpenShiftKernels,
    previous: LockedOpenShift | None,
    registry: Registry,
    *,
    root: Path,
    now: datetime,
    options: DiscoverOptions,
    progress: Progress = no_progress,
    client: httpx.Client | None = None,
) -> OpenShiftAnswer:
    """Ask graph and registries which releases there are and which kernels they run.

    Args:
        settings: the source in versions.yaml.
        previous: what the lock holds of it.
        registry: reads images.
        root: folder that a local graph file is relative to.
        now: date for what is new.
        options: what to read again and what to believe.
        progress: told how many releases are read, of how many.
        client: what asks the graph; for tests.

    Raises:
        SourceError: nothing could be read and nothing is known from before.
    """
    stamp = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    reader = ReleaseReader(registry, settings.largest_layer * 1024**2)
    before_bytes = registry.bytes_read
    answers = dict(ask_graph(settings, root, client))
    chosen = choose_releases(
        settings,
        previous,
        answers,
        read_given(settings, reader),
        now=stamp,
        today=now.date(),
        accept_loss=options.accept_loss,
    )
    unsettled = _unsettled(chosen, previous, refresh=options.refresh)
    found = dict(read_releases(reader, unsettled, progress))
    releases = _apply(chosen, found, previous)
    doubts = [*chosen.doubts, *(doubt for key in unsettled for doubt in found[key].doubts(key))]
    if not releases and not chosen.lost:  # where all of them left, each did so for a reason that somebody stated
        raise SourceError("; ".join(summarize(doubts)) or "no channel has a release")
    withdrawn = _withdrawn(settings, chosen, previous, now=now)
    known = previous.kernels if previous else {}
    is_asked = options.refresh or options.ask_for_toolkits
    unusable = _find_unusable(registry, releases, known, withdrawn, is_asked=is_asked)
    locked = LockedOpenShift(
        provider=settings.provider,
        resolved=stamp,
        stale=chosen.stale,
        releases=releases,
        kernels=derive_kernels(releases, known, newest_toolkits=options.newest_toolkits, unusable=unusable),
        withdrawn=withdrawn,
    )
    if previous is not None and previous.model_copy(update={"resolved": stamp}) == locked:
        locked = previous  # the very entry that it had: only the date would differ
    return OpenShiftAnswer(
        locked=locked,
        lost=chosen.lost,
        doubts=doubts,
        unusable=unusable,
        read=len(found),
        bytes_read=registry.bytes_read - before_bytes,
    )


def _unsettled(chosen: ChosenReleases, previous: LockedOpenShift | None, *, refresh: bool) -> dict[str, str]:
    """Return the payloads that have to be read: of releases that are new, or of which not everything is known."""
    known = previous.releases if previous else {}
    return {
        key: payload
        for key, payload in chosen.payloads.items()
        if payload and (refresh or not _is_settled(known.get(key), payload))
    }


def _withdrawn(
    settings: OpenShiftKernels, chosen: ChosenReleases, previous: LockedOpenShift | None, *, now: datetime
) -> dict[str, LockedWithdrawal]:
    """Return the releases that are known to have been withdrawn; of what nobody asks for, nothing is kept."""
    if previous is None:
        return {}
    known = {
        key: withdrawal
        for key, withdrawal in previous.withdrawn.items()
        if key not in chosen.payloads and not why_left_out(key, settings, now.date())
    }
    for key in chosen.withdrawn:
        release = previous.releases[key]
        known[key] = LockedWithdrawal(
            since=f"{now:%Y-%m-%dT%H:%M:%SZ}",
            channels=tuple(sorted(release.channels)),
            payload=release.payload,
            toolkits=tuple(sorted({stream.toolkit for stream in release.streams.values()} - {""})),
        )
    return known


def _find_unusable(
    registry: Registry,
    releases: Mapping[str, LockedRelease],
    kernels: Mapping[KernelVersion, LockedNodeKernel],
    withdrawn: Mapping[str, LockedWithdrawal],
    *,
    is_asked: bool,
) -> dict[str, str]:
    """Return the toolkits that are to be replaced where they can be: of withdrawn releases, and such as are gone.

    A registry is asked only about those that another one could replace, and of releases that are there only if
    ``is_asked``, so that an hourly run asks next to nothing.
    """
    brought = {stream.toolkit for release in releases.values() for stream in release.streams.values()}
    unusable = {
        toolkit: f"{key}, which brought that one, was withdrawn from {' and '.join(found.channels)}"
        for key, found in withdrawn.items()
        for toolkit in found.toolkits
        if toolkit not in brought
    }
    gone = "its registry says that it does not have that one any more"
    suspects = replaceable_toolkits(releases, kernels, also_brought=is_asked) - unusable.keys()
    unusable |= dict.fromkeys(find_gone(registry, suspects), gone)
    replaced = [kernel for kernel, locked in kernels.items() if locked.toolkit in unusable]
    brought_for = toolkits_by_kernel(releases) if replaced else {}
    others = {toolkit for kernel in replaced for toolkit in brought_for.get(kernel, ())}
    return unusable | dict.fromkeys(find_gone(registry, others - unusable.keys()), gone)


def _apply(
    chosen: ChosenReleases, found: Mapping[str, Reading], previous: LockedOpenShift | None
) -> dict[str, LockedRelease]:
    """Return the chosen releases: with what was read of them now, or with what was known."""
    releases = {}
    for key, payload in chosen.payloads.items():
        older = previous.releases.get(key) if previous else None
        release = older or LockedRelease()
        if key in found:
            release = _merge(release, found[key], previous)
        channels = dict(sorted(chosen.channels[key].items()))
        update = {"payload": payload, "channels": channels, "disputed": chosen.disputed.get(key, ())}
        releases[key] = release.model_copy(update=update)
    return releases


def _is_settled(release: LockedRelease | None, payload: str) -> bool:
    """Tell whether a release was read: what digests name does not change, so reading again would tell nothing new."""
    return (
        release is not None
        and release.payload == payload
        and not release.problem
        and bool(release.streams)
        and all(stream.origin == ("payload",) for stream in release.streams.values())
    )


def _merge(older: LockedRelease, reading: Reading, previous: LockedOpenShift | None) -> LockedRelease:
    """Take a new reading; where it failed, keep what was known before, marked as stale."""
    if not reading.problems:
        return LockedRelease(streams=reading.streams)
    streams = dict(older.streams)
    for tag, stream in reading.streams.items():
        known = older.streams.get(tag, stream)
        kernels = {
            kernel: tuple(dict.fromkeys([*known.kernels.get(kernel, ()), *stream.kernels.get(kernel, ())]))
            for kernel in sorted({*known.kernels, *stream.kernels}, key=str)
        }
        merged = {name: getattr(stream, name) or getattr(known, name) for name in ("toolkit", "image", "build", "rhel")}
        streams[tag] = LockedStream(state=state_of(kernels, merged["toolkit"]), kernels=kernels, **merged)
    had_kernels = any(stream.kernels for stream in older.streams.values())
    stale = (older.stale or (previous.resolved if previous else "")) if had_kernels else ""
    return LockedRelease(streams=streams, problem=reading.kind, stale=stale)
