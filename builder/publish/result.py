"""Names under which cells are published, and how the publishing of each ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from builder.digest import content_id
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from builder.kernel import KernelVersion
    from builder.plan.decide import Decision
    from builder.pullspec import Pullspec

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
    """It was made by another machine from the same inputs, and is not signed: only that machine knows its proof."""
    UNKNOWN = "unknown"
    """The registry refused or gave no answer; nothing was tagged."""
    NOT_BUILT = "not-built"
    """It is not built, proven and booted here as it should be."""
    LOCAL = "local"
    """Its name is that of no registry."""
    LEFT_OUT = "left-out"
    """versions.yaml or the driver leaves it out."""


_FAILURES = frozenset({PublishStatus.CONFLICT, PublishStatus.UNSIGNED, PublishStatus.UNKNOWN, PublishStatus.NOT_BUILT})


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """How the publishing of a cell, or of a tag of several architectures, ended; ``why`` says why it is not there."""

    cell: str
    kernel: str
    names: tuple[str, ...]
    status: PublishStatus
    digest: str = ""
    why: str = ""
    bytes_sent: int = 0
    blobs_sent: int = 0
    attached: int = 0
    """Signatures and attestations that were added."""

    @property
    def is_failure(self) -> bool:
        return self.status in _FAILURES

    @property
    def is_waiting(self) -> bool:
        return self.status is PublishStatus.WAITING


@dataclass(frozen=True, slots=True, kw_only=True)
class CellNames:
    """Full names of a cell's image, all in one repository: its own, and those that other architectures share."""

    own: tuple[str, ...]
    shared: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.own, *self.shared)

    def image(self, digest: str) -> Pullspec:
        """Return the image by digest, in the repository of its names."""
        return parse_pullspec(self.own[0]).at(digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedName:
    """A name that stands for images of several architectures: all cells that have it, with their names.

    Cells that cannot be made here now belong to it, too: a list without them would be final.
    """

    name: str
    members: tuple[tuple[Decision, CellNames], ...]

    @property
    def refused(self) -> tuple[str, ...]:
        """Say of which members it is not known here what they should be made of, and why."""
        return tuple(f"{item.cell.id}: {item.explanation}" for item, _ in self.members if not item.key)

    @property
    def key(self) -> str:
        """What all members are made of; empty as long as that is not known of one."""
        if self.refused:
            return ""
        return content_id("list", sorted(decision.key for decision, _ in self.members))


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCell:
    """A driver's image for a kernel, as its registry has it."""

    kernel: KernelVersion
    repository: str
    digest: str
    tags: tuple[str, ...]
