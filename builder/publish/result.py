"""Names under which cells are published, and how the publishing of each ended. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.kernel import KernelVersion

LOCAL = "localhost/"
"""Images of this host are in the container store only."""


class PublishStatus(StrEnum):
    PUBLISHED = "published"
    """Its tags were written now."""
    THERE = "there"
    """All its tags stood for it already, signed where that is wanted."""
    COMPLETED = "completed"
    """Its tags stood for it already; signatures or attestations that were missing were added."""
    WAITING = "waiting"
    """A tag of several architectures, of which not all are published."""
    CONFLICT = "conflict"
    """A tag stands for another image, and final tags are never moved."""
    UNSIGNED = "unsigned"
    """It was made by another machine from the same inputs, is not signed, and could not be proved equal to one here."""
    BLOCKED = "blocked"
    """Where its signatures or statements belong stands something else, which is not written over."""
    UNKNOWN = "unknown"
    """The registry refused or gave no answer; nothing was tagged."""
    NOT_BUILT = "not-built"
    """It is not built, proven and booted here as it should be."""
    LOCAL = "local"
    """Its name is that of no registry."""
    LEFT_OUT = "left-out"
    """versions.yaml or the driver leaves it out."""


_FAILURES = frozenset(
    {
        PublishStatus.CONFLICT,
        PublishStatus.UNSIGNED,
        PublishStatus.BLOCKED,
        PublishStatus.UNKNOWN,
        PublishStatus.NOT_BUILT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """How the publishing of an image, or of a list of images, ended; ``why`` says why it is not there.

    ``title`` is what people call it; ``kernel`` is what it is for, where it is for one.
    """

    title: str
    names: tuple[str, ...]
    status: PublishStatus
    kernel: str = ""
    digest: str = ""
    why: str = ""
    bytes_sent: int = 0
    blobs_sent: int = 0
    attached: int = 0
    """Signatures and attestations that were added."""
    is_known: bool = False
    """It waits for nothing but what versions.yaml acknowledges: that decides no exit code."""

    @property
    def is_failure(self) -> bool:
        return self.status in _FAILURES

    @property
    def may_be_moved(self) -> bool:
        """Whether its tags stand for an image that ours could take the place of, by --force."""
        return self.status in {PublishStatus.CONFLICT, PublishStatus.UNSIGNED} and bool(self.digest)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for something that nobody acknowledged."""
        return self.status is PublishStatus.WAITING and not self.is_known


def advise(results: Sequence[PublishResult]) -> str:
    """Return the one command that moves all tags which stand for other images than those here; empty for none.

    A driver's cells are named by one pattern where all of them are to be moved.
    """
    moved = [result.title for result in results if result.may_be_moved]
    if not moved:
        return ""
    stay = {result.title.partition("/")[0] for result in results if not result.may_be_moved}
    words = {title if (driver := title.partition("/")[0]) in stay else f"{driver}/*": None for title in moved}
    forced = " ".join(f"--force {shlex.quote(word)}" for word in words)
    return (
        f"final tags are never moved by themselves; to put the {len(moved)} images of this machine in their place, all "
        f"at once, add to the same command: {forced} --reason 'WHY'"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCell:
    """A driver's image for a kernel, as its registry has it."""

    kernel: KernelVersion
    repository: str
    digest: str
    tags: tuple[str, ...]
