"""Releases as every kernel source that has some tells of them: what their nodes run, and what is known of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.kernel import Arch, KernelVersion


class ReleaseState(StrEnum):
    """What is known of one operating system of one release; see builder/sources/README.md."""

    COMPLETE = "complete"
    """The toolkit's kernel and the node's kernel are both known and are the same."""
    UNCONFIRMED = "unconfirmed"
    """Only one of the two kernels is known; nothing contradicts."""
    TOOLKIT_DIFFERS = "toolkit-differs"
    """Both are known and are not the same: the release's own toolkit cannot build for its nodes."""
    NO_TOOLKIT = "no-toolkit"
    """The payload was read and has no toolkit for this operating system."""
    KERNEL_UNKNOWN = "kernel-unknown"
    """Neither kernel is known."""
    UNREACHABLE = "unreachable"
    """It was never read, because no registry answered or access was refused."""
    MALFORMED = "malformed"
    """It was never read, because what the registry served is not what it should be."""
    WITHDRAWN = "withdrawn"
    """It was in channels, and is in none any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseStream:
    """An operating system of a release: the kernels that its nodes run, and the toolkit that the release brings.

    ``kernels`` maps what its nodes run, and what its toolkit is for, to who says so. What is empty is not known.
    """

    tag: str
    state: ReleaseState
    runs: tuple[KernelVersion, ...]
    kernels: Mapping[KernelVersion, tuple[str, ...]]
    toolkit: str
    build: str
    rhel: str
    origin: tuple[str, ...]

    @property
    def own_kernels(self) -> frozenset[KernelVersion]:
        """Kernels that its own toolkit says that it is for."""
        return frozenset(kernel for kernel, witnesses in self.kernels.items() if "toolkit" in witnesses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release for one architecture, and since when (UTC) each channel has it.

    ``state`` says why there are no streams, where there are none; ``stale`` is the date of an answer that was kept.
    """

    version: str
    arch: Arch
    state: ReleaseState
    channels: Mapping[str, str]
    stale: str
    streams: tuple[ReleaseStream, ...]
    disputed: tuple[str, ...] = ()
    """Other payloads that are served as this release: which of them nodes run, nobody can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """A release that was in ``channels`` and is in none any more; ``since`` (UTC) is when that was found out."""

    version: str
    arch: Arch
    since: str
    channels: tuple[str, ...]

    def __str__(self) -> str:
        """Return the end of a sentence about the release."""
        return f"was withdrawn from {' and '.join(self.channels)}, which was found out on {self.since}"
