"""What changed between two answers of OpenShift, in an order that people can read. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from builder.sources.change import Change
from builder.sources.lock import natural_key
from builder.sources.openshift.lock import LockedOpenShift, release_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from builder.kernel import KernelVersion
    from builder.sources.openshift.lock import LockedRelease

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def describe_releases(
    previous: LockedOpenShift | None,
    new: LockedOpenShift,
    lost: Mapping[str, str],
    *,
    now: datetime,
    unusable: Mapping[str, str] = MappingProxyType({}),
) -> list[Change]:
    """Return what a new answer of OpenShift adds, drops and changes: kernels first, then releases.

    Args:
        previous: the answer before; None at the first look.
        new: the answer now.
        lost: releases that left, with the stated reason.
        now: what ages are counted to (UTC).
        unusable: toolkits that are chosen no more, with the reason.
    """
    old = previous or LockedOpenShift(provider=new.provider, resolved=new.resolved, releases={}, kernels={})
    return [*_kernel_changes(old, new, lost, unusable), *_release_changes(old, new, lost, now)]


def _kernel_changes(
    old: LockedOpenShift, new: LockedOpenShift, lost: Mapping[str, str], unusable: Mapping[str, str]
) -> Iterator[Change]:
    for kernel in _in_order(new.kernels.keys() - old.kernels.keys()):
        found = new.kernels[kernel]
        toolkit = "" if found.toolkit else "; no toolkit for it is known"
        yield Change(kind="new kernel", subject=str(kernel), detail=f"of {_list(found.releases)}{toolkit}")
    for kernel in _in_order(old.kernels.keys() - new.kernels.keys()):
        reasons = {
            lost.get(release_key(version, kernel.arch), "a new reading names another")
            for version in old.kernels[kernel].releases
        }
        yield Change(kind="kernel gone", subject=str(kernel), detail="; ".join(sorted(reasons)))
    for kernel in _in_order(new.kernels.keys() & old.kernels.keys()):
        before, after = old.kernels[kernel].toolkit, new.kernels[kernel].toolkit
        if before != after:
            detail = f"built with {after or 'no toolkit any more'}, before with {before or 'none'}"
            why = f": {unusable[before]}" if before in unusable else ""
            yield Change(kind="toolkit chosen", subject=str(kernel), detail=f"{detail}{why}")


def _release_changes(
    old: LockedOpenShift, new: LockedOpenShift, lost: Mapping[str, str], now: datetime
) -> Iterator[Change]:
    for key in sorted(new.releases.keys() - old.releases.keys(), key=natural_key):
        release = new.releases[key]
        yield Change(kind="new release", subject=key, detail=f"{_channels(release, now)}; {_streams(release)}")
    for key in sorted(old.releases.keys() - new.releases.keys(), key=natural_key):
        yield Change(kind="release gone", subject=key, detail=lost.get(key, ""))
    for key in sorted(new.releases.keys() & old.releases.keys(), key=natural_key):
        before, after = old.releases[key], new.releases[key]
        if added := after.channels.keys() - before.channels.keys():
            yield Change(kind="promoted", subject=key, detail=f"now in {', '.join(sorted(added))}")
        if removed := before.channels.keys() - after.channels.keys():
            yield Change(kind="withdrawn", subject=key, detail=f"no longer in {', '.join(sorted(removed))}")
        if before.disputed != after.disputed:
            detail = f"{after.payload} is read, {_list(after.disputed)} not" if after.disputed else "only one any more"
            yield Change(kind="payloads in dispute", subject=key, detail=detail)
        if before.states != after.states or before.problem != after.problem:
            yield Change(kind="state changed", subject=key, detail=f"{_streams(before)} -> {_streams(after)}")
        elif before.payload and before.payload != after.payload:
            yield Change(kind="payload changed", subject=key, detail=f"{before.payload} -> {after.payload}")


def _channels(release: LockedRelease, now: datetime) -> str:
    return ", ".join(
        f"in {name} {f'for {format_age(since, now)}' if since else 'since before the first look'}"
        for name, since in release.channels.items()
    )


def _streams(release: LockedRelease) -> str:
    known = [f"{tag} {stream.state}" for tag, stream in sorted(release.streams.items())]
    return ", ".join([*known, *([f"last reading: {release.problem}"] if release.problem else [])]) or "not read"


def format_age(since: str, now: datetime) -> str:
    """Return how long ago a UTC date of the lock was, in one unit; empty if it is not known."""
    if not since:
        return ""
    seconds = (now - parse_date(since)).total_seconds()
    for unit, name in ((_DAY_S, "days"), (_HOUR_S, "hours"), (_MINUTE_S, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return "a minute"


def parse_date(text: str) -> datetime:
    """Return a date of the lock: ``2026-11-23T18:39:49Z``, or a day."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(words)


def _in_order(kernels: set[KernelVersion]) -> list[KernelVersion]:
    return sorted(kernels, key=lambda kernel: kernel.sort_key)
