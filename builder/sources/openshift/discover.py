"""Kernel sources OpenShift and OKD: from the update graph to kernels and toolkits, by registry metadata alone.

Graph -> release payload -> its ``image-references`` -> for each operating system its toolkit's release file, the
kernel that the operating system image itself names, and the rt and 64k kernels of its extensions. No image is pulled:
what is read are manifests, configurations and the top layers. All of it is by digest, so it is read once; the lock is
the memory, and a machine without a cache reads only what is new.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.errors import SourceError
from builder.host.progress import no_progress
from builder.sources.openshift.graph import ask_graph
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease, LockedStream
from builder.sources.openshift.node_kernels import derive_kernels
from builder.sources.openshift.release_reader import Reading, ReleaseReader, read_given, read_releases
from builder.sources.openshift.releases import Doubt, choose_releases
from builder.sources.openshift.witnesses import state_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import httpx

    from builder.config.model import OpenShiftKernels
    from builder.host.progress import Progress
    from builder.registry.reader import Registry
    from builder.sources.openshift.releases import ChosenReleases
    from builder.sources.provider import DiscoverOptions


@dataclass(slots=True)
class OpenShiftAnswer:
    """A source's new lock, and what is to be said about it."""

    locked: LockedOpenShift
    lost: dict[str, str]
    """Releases that left, with the stated reason."""
    problems: list[str] = field(default_factory=list)
    """What could not be read; the lock holds the older answers."""
    read: int = 0
    """Releases that were read."""
    bytes_read: int = 0


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
    read = [Doubt(subject=key, sentence=line) for key in unsettled for line in found[key].problems]
    problems = [*chosen.problems, *read]
    if not releases:
        raise SourceError("; ".join(_summarize(problems)) or "no channel has a release")
    locked = _lock(settings, chosen, releases, previous, now=stamp, newest_toolkits=options.newest_toolkits)
    return OpenShiftAnswer(
        locked=locked,
        lost=chosen.lost,
        problems=_summarize(problems),
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


def _lock(
    settings: OpenShiftKernels,
    chosen: ChosenReleases,
    releases: dict[str, LockedRelease],
    previous: LockedOpenShift | None,
    *,
    now: str,
    newest_toolkits: bool,
) -> LockedOpenShift:
    """Return what the lock holds from now on: the very entry that it had, where only the date would differ."""
    locked = LockedOpenShift(
        provider=settings.provider,
        resolved=now,
        stale=chosen.stale,
        releases=releases,
        kernels=derive_kernels(releases, previous.kernels if previous else {}, newest_toolkits=newest_toolkits),
    )
    if previous is not None and previous.model_copy(update={"resolved": now}) == locked:
        return previous
    return locked


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
        releases[key] = release.model_copy(update={"payload": payload, "channels": channels})
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


def _summarize(problems: Sequence[Doubt]) -> list[str]:
    """Return a line for each kind of problem: what is wrong with hundreds of releases has one cause."""
    found: dict[str, list[str]] = {}
    for doubt in problems:
        found.setdefault(re.sub(r"sha256:[0-9a-f]{64}", "sha256:...", doubt.sentence), []).append(doubt.subject)
    lines = []
    for sentence, subjects in found.items():
        others = f" and {len(subjects) - 1} more" if len(subjects) > 1 else ""
        lines.append(f"{subjects[0]}{others}: {sentence}")
    return lines


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
