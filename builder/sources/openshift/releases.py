"""Decides which releases a lock holds. Pure.

Nothing leaves the lock without a reason that somebody stated: an end of life or a drop in versions.yaml, or every
channel that had the release answering without it. A channel that did not answer keeps all that it had.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.kernel import Arch
from builder.sources.losses import distrust
from builder.sources.openshift.lock import release_key, split_key
from builder.sources.openshift.payload import minor_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from builder.config.model import OpenShiftKernels
    from builder.sources.openshift.lock import LockedOpenShift, LockedRelease
    from builder.sources.openshift.payload import GraphNode

# A release that versions.yaml names itself, in place of a channel.
GIVEN = "versions.yaml"


@dataclass(frozen=True, slots=True, order=True)
class Channel:
    """A channel for one architecture, as the graph is asked."""

    name: str
    arch: Arch

    def __str__(self) -> str:
        return f"{self.name} {self.arch}"

    def holds(self, version: str) -> bool:
        """Tell whether a release is of the channel's own minor: a stable-4.18 graph has 4.16 and 4.17 in it, too."""
        minor = self.name.rpartition("-")[2]
        return minor.count(".") != 1 or version.startswith(f"{minor}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A channel or a release that could not be read, or is not believed, and why."""

    subject: str
    sentence: str


@dataclass(slots=True)
class ChosenReleases:
    """Which releases there are: by key, with payload and channels, and what is to be said about the others."""

    payloads: dict[str, str] = field(default_factory=dict)
    channels: dict[str, dict[str, str]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    """Releases that leave the lock, with the stated reason."""
    stale: dict[str, str] = field(default_factory=dict)
    problems: list[Doubt] = field(default_factory=list)
    """What could not be read or believed."""


def choose_releases(
    settings: OpenShiftKernels,
    previous: LockedOpenShift | None,
    answers: Mapping[Channel, Sequence[GraphNode] | str],
    given: Mapping[str, str] | str,
    *,
    now: str,
    today: date,
    accept_loss: bool = False,
) -> ChosenReleases:
    """Decide which releases the lock will hold.

    Args:
        settings: channels, ends of life and drops of versions.yaml.
        previous: the lock so far.
        answers: nodes of every channel, or why there is no answer.
        given: payloads by key of releases that versions.yaml names itself, or why they are not known.
        now: date for what is seen for the first time (UTC).
        today: date that ends of life are compared with.
        accept_loss: believe a channel that lost many releases at once.
    """
    chosen = ChosenReleases()
    before = previous.releases if previous else {}
    unread: set[Channel] = set()
    for channel, answer in sorted(answers.items()):
        known = {key for key, release in before.items() if _has(release, key, channel)}
        nodes, sentence = _believe(channel, answer, known, settings, today, accept=accept_loss)
        if sentence:
            chosen.problems.append(Doubt(subject=str(channel), sentence=sentence))
            unread.add(channel)
            if known and previous:
                chosen.stale[str(channel)] = previous.stale.get(str(channel), previous.resolved)
        for key, payload in nodes.items():
            since = before[key].channels.get(channel.name) if key in before else None
            chosen.channels.setdefault(key, {})[channel.name] = since if since is not None else now if known else ""
            if chosen.payloads.setdefault(key, payload) != payload:
                sentence = f"two channels name different payloads, {chosen.payloads[key]} and {payload}"
                chosen.problems.append(Doubt(subject=key, sentence=sentence))
    if isinstance(given, str):
        chosen.problems.append(Doubt(subject=GIVEN, sentence=given))
        unread |= {Channel(GIVEN, arch) for arch in Arch}
    else:
        for key, payload in given.items():
            chosen.payloads[key] = payload
            chosen.channels.setdefault(key, {})[GIVEN] = before[key].channels.get(GIVEN, now) if key in before else now
    asked = {*answers, *(Channel(GIVEN, arch) for arch in Arch)}
    for key, release in before.items():
        _keep_or_lose(chosen, key, release, asked=asked, unread=unread, left_out=why_left_out(key, settings, today))
    return chosen


def _has(release: LockedRelease, key: str, channel: Channel) -> bool:
    return channel.name in release.channels and split_key(key)[1] is channel.arch


def _believe(
    channel: Channel,
    answer: Sequence[GraphNode] | str,
    known: set[str],
    settings: OpenShiftKernels,
    today: date,
    *,
    accept: bool,
) -> tuple[dict[str, str], str]:
    """Return payloads by key of an answer, or nothing and why it is not believed."""
    if isinstance(answer, str):
        return {}, answer
    own = [node for node in answer if channel.holds(node.version)]
    if not own:
        return {}, "it has no releases: it does not exist, or is misspelt (unknown channels are answered with no nodes)"
    nodes: dict[str, str] = {}
    for node in own:
        if nodes.setdefault(release_key(node.version, channel.arch), str(node.payload)) != str(node.payload):
            return {}, f"its graph names two payloads for {node.version}"
    missing = {key for key in known - nodes.keys() if not why_left_out(key, settings, today)}
    if sentence := distrust(len(missing), len(known), "releases", accept=accept):
        return {}, sentence
    wanted = {key: payload for key, payload in nodes.items() if not why_left_out(key, settings, today)}
    return wanted, ""


def why_left_out(key: str, settings: OpenShiftKernels, today: date) -> str:
    """Return why versions.yaml does not want a release; empty if it does."""
    version, _ = split_key(key)
    for entry in settings.drop:
        if fnmatchcase(version, entry.release):
            return f"dropped in versions.yaml: {entry.reason}"
    end = settings.end_of_life.get(".".join(map(str, minor_of(version))))
    return f"end of life since {end}" if end is not None and end < today else ""


def _keep_or_lose(
    chosen: ChosenReleases,
    key: str,
    release: LockedRelease,
    *,
    asked: set[Channel],
    unread: set[Channel],
    left_out: str,
) -> None:
    """Decide about a release of the lock so far. Channels that gave no answer keep what they had."""
    _, arch = split_key(key)
    kept = {name: since for name, since in release.channels.items() if Channel(name, arch) in asked & unread}
    may_be_somewhere = not release.channels and any(channel.arch is arch for channel in unread)
    channels = _and(sorted(release.channels))
    if left_out:
        chosen.lost[key] = left_out
    elif key in chosen.payloads or kept or may_be_somewhere:
        chosen.channels[key] = kept | chosen.channels.get(key, {})
        chosen.payloads.setdefault(key, release.payload)
    elif not release.channels:
        chosen.lost[key] = "no channel has it"
    elif GIVEN in release.channels:
        chosen.lost[key] = "versions.yaml no longer names it, and no channel has it"
    elif any(Channel(name, arch) in asked for name in release.channels):
        chosen.lost[key] = f"withdrawn from {channels}"
    else:
        chosen.lost[key] = f"versions.yaml no longer asks for {channels} on {arch}"


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1] if words else ""]))
