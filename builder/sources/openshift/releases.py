"""Decides which releases a lock holds. Pure.

Nothing leaves the lock without a reason that somebody stated: an end of life or a drop in versions.yaml, or every
channel that had the release answering without it. A channel that did not answer keeps all that it had.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.config.problem_codes import ProblemCode
from builder.kernel import Arch
from builder.sources.doubt import Doubt
from builder.sources.losses import distrust
from builder.sources.openshift.lock import release_key, split_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from builder.config.model.openshift import OpenShiftKernels
    from builder.sources.openshift.lock import LockedOpenShift, LockedRelease
    from builder.sources.openshift.payload import GraphNode

# A release that versions.yaml names itself, in place of a channel.
GIVEN = "versions.yaml"
# A graph may be hostile, and the lock has to be read again.
_MOST_DISPUTED, _FEW = 16, 3


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


@dataclass(slots=True)
class ChosenReleases:
    """Which releases there are: by key, with payload and channels, and what is to be said about the others."""

    payloads: dict[str, str] = field(default_factory=dict)
    disputed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Other payloads that are served as the same release."""
    channels: dict[str, dict[str, str]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    """Releases that leave the lock, with the stated reason."""
    withdrawn: set[str] = field(default_factory=set)
    """Those of them that every channel took back."""
    stale: dict[str, str] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)


def choose_releases(
    settings: OpenShiftKernels,
    previous: LockedOpenShift | None,
    answers: Mapping[Channel, Sequence[GraphNode] | Doubt],
    given: Mapping[str, Sequence[str]] | Doubt,
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
        accept_loss: believe a channel that lost many releases at once, or all.
    """
    chosen = ChosenReleases()
    before = previous.releases if previous else {}
    unread: set[Channel] = set()
    if isinstance(given, Doubt):
        chosen.doubts.append(given)
        unread |= {Channel(GIVEN, arch) for arch in Arch}
        given = {}
    given = {key: payloads for key, payloads in given.items() if not why_left_out(key, settings, today)}
    claims = {key: dict.fromkeys(payloads) for key, payloads in given.items()}
    for key in given:
        chosen.channels[key] = {GIVEN: before[key].channels.get(GIVEN, now) if key in before else now}
    for channel, answer in sorted(answers.items()):
        known = {key for key, release in before.items() if _has(release, key, channel)}
        nodes, doubt = _believe(channel, answer, known, settings, today, accept=accept_loss)
        if doubt:
            chosen.doubts.append(doubt)
            unread.add(channel)
            if known and previous:
                chosen.stale[str(channel)] = previous.stale.get(str(channel), previous.resolved)
        for key, found in nodes.items():
            since = before[key].channels.get(channel.name) if key in before else None
            chosen.channels.setdefault(key, {})[channel.name] = since if since is not None else now if known else ""
            claims.setdefault(key, {}).update(found)
    _choose_payloads(chosen, claims, before, given)
    asked = {*answers, *(Channel(GIVEN, arch) for arch in Arch)}
    for key, release in before.items():
        left_out = why_left_out(key, settings, today)
        _keep_or_lose(chosen, key, release, asked=asked, unread=unread, left_out=left_out)
    return chosen


def _choose_payloads(
    chosen: ChosenReleases,
    claims: Mapping[str, Iterable[str]],
    before: Mapping[str, LockedRelease],
    given: Mapping[str, Sequence[str]],
) -> None:
    """Choose the payload of each release: what versions.yaml names, else what is known, else the first channel's."""
    for key, claimed in claims.items():
        payloads = list(claimed)
        known = before[key].payload if key in before else ""
        payload = known if known in payloads and known in given.get(key, payloads) else payloads[0]
        chosen.payloads[key] = payload
        if others := sorted(other for other in payloads if other != payload):
            chosen.disputed[key] = tuple(others[:_MOST_DISPUTED])
            shown = others[:_FEW] if len(others) <= _FEW else [*others[:_FEW], f"{len(others) - _FEW} more"]
            sentence = f"{len(payloads)} payloads are served as this release: {payload} is read, {_and(shown)} not"
            chosen.doubts.append(Doubt(code=ProblemCode.TWO_PAYLOADS, subject=key, sentence=sentence))


def _has(release: LockedRelease, key: str, channel: Channel) -> bool:
    return channel.name in release.channels and split_key(key)[1] is channel.arch


def _believe(
    channel: Channel,
    answer: Sequence[GraphNode] | Doubt,
    known: set[str],
    settings: OpenShiftKernels,
    today: date,
    *,
    accept: bool,
) -> tuple[dict[str, dict[str, None]], Doubt | None]:
    """Return payloads by key of an answer, or nothing and why it is not believed."""
    if isinstance(answer, Doubt):
        return {}, answer
    nodes: dict[str, dict[str, None]] = {}
    # In an order that is not the graph's, which is arbitrary.
    for version, payload in sorted((node.version, str(node.payload)) for node in answer if channel.holds(node.version)):
        nodes.setdefault(release_key(version, channel.arch), {})[payload] = None
    if not nodes and not known:
        sentence = (
            "it has no releases: it does not exist, or is misspelt (unknown channels are answered with no nodes), or "
            "all of it was withdrawn: take it out of versions.yaml"
        )
        return {}, Doubt(code=ProblemCode.NO_RELEASES, subject=str(channel), sentence=sentence)
    missing = {key for key in known - nodes.keys() if not why_left_out(key, settings, today)}
    if sentence := distrust(len(missing), len(known), "release", is_empty=not nodes, accept=accept):
        return {}, Doubt(code=ProblemCode.MANY_LOST, subject=str(channel), sentence=sentence)
    return {key: found for key, found in nodes.items() if not why_left_out(key, settings, today)}, None


def why_left_out(key: str, settings: OpenShiftKernels, today: date) -> str:
    """Return why versions.yaml does not want a release; empty if it does."""
    return settings.why_left_out(split_key(key)[0], today)


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
        if key not in chosen.payloads:
            chosen.payloads[key] = release.payload
            chosen.disputed[key] = release.disputed
    elif not release.channels:
        chosen.lost[key] = "no channel has it"
    elif GIVEN in release.channels:
        chosen.lost[key] = "versions.yaml no longer names it, and no channel has it"
    elif any(Channel(name, arch) in asked for name in release.channels):
        chosen.lost[key] = f"withdrawn from {channels}"
        chosen.withdrawn.add(key)
    else:
        chosen.lost[key] = f"versions.yaml no longer asks for {channels} on {arch}"


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1] if words else ""]))
