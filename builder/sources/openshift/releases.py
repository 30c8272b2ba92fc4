"""Decides which releases a lock holds, what state each is in, and which kernels follow from them.

Nothing leaves the lock without a reason that somebody stated: an end of life or a drop in versions.yaml, or every
channel that had the release answering without it. A channel that did not answer keeps all that it had.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.kernel import Arch, Variant, parse_kernel_version
from builder.sources.lock import (
    LockedNodeKernel,
    LockedOpenShift,
    LockedRelease,
    LockedStream,
    ReleaseState,
    natural_key,
)
from builder.sources.losses import distrust
from builder.sources.openshift.payload import minor_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from builder.config.model import OpenShiftKernels
    from builder.kernel import KernelVersion
    from builder.sources.openshift.payload import GraphNode

TOOLKIT = "toolkit"
DERIVED = "derived"
NODE = "node:"
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


@dataclass(slots=True)
class Roll:
    """Which releases there are: by key, with payload and channels, and what is to be said about the others."""

    payloads: dict[str, str] = field(default_factory=dict)
    channels: dict[str, dict[str, str]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    """Releases that leave the lock, with the stated reason."""
    stale: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """What could not be read or believed: a channel or release, and a sentence about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How to discover, besides what versions.yaml says."""

    refresh: bool = False
    """Read also what the lock already knows."""
    newest_toolkits: bool = False
    """Choose the newest toolkit of every kernel again."""
    accept_loss: bool = False
    """Believe an answer that lost many releases or kernels at once."""


def release_key(version: str, arch: Arch) -> str:
    return f"{version}-{arch}"


def split_key(key: str) -> tuple[str, Arch]:
    """Return version and architecture of a release's key."""
    version, _, arch = key.rpartition("-")
    return version, Arch(arch)


def call_roll(
    settings: OpenShiftKernels,
    previous: LockedOpenShift | None,
    answers: Mapping[Channel, Sequence[GraphNode] | str],
    given: Mapping[str, str] | str,
    *,
    now: str,
    today: date,
    accept_loss: bool = False,
) -> Roll:
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
    roll = Roll()
    before = previous.releases if previous else {}
    unread: set[Channel] = set()
    for channel, answer in sorted(answers.items()):
        known = {key for key, release in before.items() if _has(release, key, channel)}
        nodes, sentence = _believe(channel, answer, known, settings, today, accept=accept_loss)
        if sentence:
            roll.problems.append((str(channel), sentence))
            unread.add(channel)
            if known and previous:
                roll.stale[str(channel)] = previous.stale.get(str(channel), previous.resolved)
        for key, payload in nodes.items():
            since = before[key].channels.get(channel.name) if key in before else None
            roll.channels.setdefault(key, {})[channel.name] = since if since is not None else now if known else ""
            if roll.payloads.setdefault(key, payload) != payload:
                sentence = f"two channels name different payloads, {roll.payloads[key]} and {payload}"
                roll.problems.append((key, sentence))
    if isinstance(given, str):
        roll.problems.append((GIVEN, given))
        unread |= {Channel(GIVEN, arch) for arch in Arch}
    else:
        for key, payload in given.items():
            roll.payloads[key] = payload
            roll.channels.setdefault(key, {})[GIVEN] = before[key].channels.get(GIVEN, now) if key in before else now
    asked = {*answers, *(Channel(GIVEN, arch) for arch in Arch)}
    for key, release in before.items():
        _keep_or_lose(roll, key, release, asked=asked, unread=unread, left_out=why_left_out(key, settings, today))
    return roll


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
    roll: Roll, key: str, release: LockedRelease, *, asked: set[Channel], unread: set[Channel], left_out: str
) -> None:
    """Decide about a release of the lock so far. Channels that gave no answer keep what they had."""
    _, arch = split_key(key)
    kept = {name: since for name, since in release.channels.items() if Channel(name, arch) in asked & unread}
    may_be_somewhere = not release.channels and any(channel.arch is arch for channel in unread)
    channels = _and(sorted(release.channels))
    if left_out:
        roll.lost[key] = left_out
    elif key in roll.payloads or kept or may_be_somewhere:
        roll.channels[key] = kept | roll.channels.get(key, {})
        roll.payloads.setdefault(key, release.payload)
    elif not release.channels:
        roll.lost[key] = "no channel has it"
    elif GIVEN in release.channels:
        roll.lost[key] = "versions.yaml no longer names it, and no channel has it"
    elif any(Channel(name, arch) in asked for name in release.channels):
        roll.lost[key] = f"withdrawn from {channels}"
    else:
        roll.lost[key] = f"versions.yaml no longer asks for {channels} on {arch}"


def state_of(kernels: Mapping[str, Sequence[str]], toolkit: str, *, was_read: bool = True) -> ReleaseState:
    """Compare what is said of the node's kernels with what is said of the toolkit's (design, rule 7)."""
    if not toolkit and was_read:
        return ReleaseState.NO_TOOLKIT
    node, built = _by_variant(kernels, of_node=True), _by_variant(kernels, of_node=False)
    if any(node[variant] != built[variant] for variant in node.keys() & built.keys()):
        return ReleaseState.TOOLKIT_DIFFERS
    if Variant.STANDARD in node and Variant.STANDARD in built:
        return ReleaseState.COMPLETE
    return ReleaseState.UNCONFIRMED if node or built else ReleaseState.KERNEL_UNKNOWN


def run_by(stream: LockedStream) -> Iterator[KernelVersion]:
    """Yield the kernels that nodes run: what the node says, and where it says nothing, what the toolkit is for.

    A toolkit that is not for the node's standard kernel says nothing of its rt or 64k kernel either.
    """
    node, built = _by_variant(stream.kernels, of_node=True), _by_variant(stream.kernels, of_node=False)
    if node.get(Variant.STANDARD, set()) and node[Variant.STANDARD] != built.get(Variant.STANDARD):
        built = {}
    for variant in Variant:
        yield from sorted(node.get(variant) or built.get(variant, set()), key=lambda kernel: kernel.sort_key)


def served_by(stream: LockedStream) -> set[str]:
    """Return the kernels that a stream's toolkit is for; while nobody has read it, the node's."""
    if not stream.toolkit:
        return set()
    built = {kernel.raw for kernels in _by_variant(stream.kernels, of_node=False).values() for kernel in kernels}
    return built or set(stream.kernels)


def _by_variant(kernels: Mapping[str, Sequence[str]], *, of_node: bool) -> dict[Variant, set[KernelVersion]]:
    found: dict[Variant, set[KernelVersion]] = {}
    for raw, witnesses in kernels.items():
        if any(word.startswith(NODE) is of_node for word in witnesses):
            kernel = parse_kernel_version(raw)
            found.setdefault(kernel.variant, set()).add(kernel)
    return found


def derive_kernels(
    releases: Mapping[str, LockedRelease], previous: Mapping[str, LockedNodeKernel], *, newest_toolkits: bool = False
) -> dict[str, LockedNodeKernel]:
    """Return the kernels that releases run, each with its releases and toolkits.

    Args:
        releases: all of the lock.
        previous: kernels of the lock so far: the toolkits that were chosen and seen stay.
        newest_toolkits: choose the newest toolkit of each kernel instead.
    """
    found: dict[str, _Gathered] = {}
    toolkits: dict[str, list[str]] = {}
    for key in sorted(releases, key=natural_key, reverse=True):
        release = releases[key]
        for tag, stream in sorted(release.streams.items()):
            for raw in served_by(stream):
                toolkits.setdefault(raw, []).append(stream.toolkit)
            for kernel in run_by(stream):
                found.setdefault(kernel.raw, _Gathered()).add(kernel, key, tag, release, stream)
    return {
        raw: gathered.lock(toolkits.get(raw, []), previous.get(raw), newest=newest_toolkits)
        for raw, gathered in found.items()
    }


@dataclass(slots=True)
class _Gathered:
    """What releases say of one kernel, the newest release first."""

    versions: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    images: list[str] = field(default_factory=list)
    rhel: list[str] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)

    def add(self, kernel: KernelVersion, key: str, tag: str, release: LockedRelease, stream: LockedStream) -> None:
        version = split_key(key)[0]
        if version not in self.versions:
            self.versions.append(version)
        self.tags.add(tag)
        if stream.image and kernel.variant is Variant.STANDARD:  # rt and 64k kernels are in the extensions
            self.images.append(stream.image)
        if stream.rhel:
            self.rhel.append(stream.rhel)
        self.dates += release.channels.values()

    def lock(self, toolkits: Sequence[str], previous: LockedNodeKernel | None, *, newest: bool) -> LockedNodeKernel:
        older = previous.toolkits if previous else ()
        everything = tuple(dict.fromkeys([*toolkits, *older]))
        chosen = previous.toolkit if previous and not newest else ""
        return LockedNodeKernel(
            releases=tuple(reversed(self.versions)),
            streams=tuple(sorted(self.tags)),
            toolkit=chosen or (everything[0] if everything else ""),
            toolkits=everything,
            image=self.images[0] if self.images else "",
            rhel=self.rhel[0] if self.rhel else "",
            seen=min(self.dates, default=""),
        )


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1] if words else ""]))
