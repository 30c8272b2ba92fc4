"""What the pages are made of: all that is known of drivers, kernels, releases and cells at one moment. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from builder.errors import FailureClass
from builder.evidence.records import CellOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from builder.evidence.records import BootEvidence, CellEvidence, ComponentEvidence, PublishEvidence
    from builder.kmod.compat import Drift
    from builder.plan.quote import Quote
    from builder.site.drift import Lineage
    from builder.site.statements import Told
    from builder.sources.listing import KernelRow, ReleaseRow


class CellState(StrEnum):
    """What is to be said of a cell in one word; the first four are green, and none of them without a proof."""

    PUBLISHED = "published"
    """Its image is in a registry, made of what goes into the cell now."""
    BOOTED = "booted"
    """Its modules were loaded on their own kernel."""
    SIGNED = "signed"
    """Its modules fit their kernel and have verified signatures."""
    PROVEN = "proven"
    """Its modules fit their kernel."""
    UNPROVEN = "unproven"
    """There is an image, and what it was proven by is not on record, or could not be found out."""
    STALE = "stale"
    """It was proven of other inputs than there are now, or its image is gone."""
    NOT_BUILT = "not-built"
    """It is wanted, and no build of it is on record."""
    UNKNOWN = "unknown"
    """Somebody who would know gave no answer: that is no absence (design, rule 4)."""
    FAILED = "failed"
    REFUSED = "refused"
    """It cannot be built here, for instance because there is no toolkit."""
    KNOWN_BAD = "known-bad"
    """versions.yaml says that it does not work, who looks after that, and until when."""
    ACKNOWLEDGED = "acknowledged"
    """It cannot be built, and versions.yaml says that this is known."""
    NOT_WANTED = "not-wanted"
    """versions.yaml or the driver leaves it out for good."""


READY = frozenset({CellState.PUBLISHED, CellState.BOOTED, CellState.SIGNED, CellState.PROVEN})


class CellStep(StrEnum):
    """What an image can have behind it."""

    PROVEN = "proven"
    SIGNED = "signed"
    BOOTED = "booted"
    PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True)
class SiteCell:
    """A cell with all that is on record of it; ``why`` is a sentence, ``reason`` its stable code."""

    id: str
    driver: str
    version: str
    kernel: str
    arch: str
    variant: str
    series: str
    source: str
    state: CellState
    steps: tuple[CellStep, ...] = ()
    reason: str = ""
    why: str = ""
    image: str = ""
    key: str = ""
    until: str = ""
    """Last day of an entry of ``known_bad``."""
    evidence: CellEvidence | None = None
    boot: BootEvidence | None = None
    published: tuple[PublishEvidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDriver:
    """A driver as versions.yaml tells of it."""

    name: str
    version: str
    vendor: str = ""
    summary: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}-{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A part of the facts that is not there: what, why, and the command that brings it."""

    what: str
    why: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDocuments:
    """What lies beside a cell's evidence: logs as text, cut where they are long; a report; statements."""

    build_log: str = ""
    boot_log: str = ""
    boot_steps: tuple[tuple[str, int | None, float | None], ...] = ()
    """Steps as they went: words, exit code, seconds of the guest's clock."""
    boot_facts: Mapping[str, str] = field(default_factory=dict)
    boot_problems: tuple[str, ...] = ()
    told: Told | None = None
    """What is attested of its image; None where it is not proven."""


@dataclass(frozen=True, kw_only=True)
class SiteFacts:
    """Everything at one moment (``made``, UTC). Kernels and releases are in natural order, records oldest first."""

    made: datetime
    builder_version: str
    image_key: str = ""
    """File of the public key of who signs images; empty where nobody does."""
    drivers: tuple[SiteDriver, ...] = ()
    kernels: tuple[KernelRow, ...] = ()
    releases: tuple[ReleaseRow, ...] = ()
    cells: tuple[SiteCell, ...] = ()
    components: tuple[ComponentEvidence, ...] = ()
    builds: tuple[CellEvidence, ...] = ()
    """All words about cells that are on record, not only the latest."""
    boots: tuple[BootEvidence, ...] = ()
    publishes: tuple[PublishEvidence, ...] = ()
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    quotes: tuple[Quote, ...] = ()
    """What one more driver, channel or architecture would cost the groups that are shown."""

    lineages: tuple[Lineage, ...] = ()
    """How kernels change from one to the next."""
    changes: Mapping[str, tuple[Drift, ...]] = field(default_factory=dict)
    """By the first cell of a cause of failure: what the kernel changed of what the compiler complains about."""

    @cached_property
    def releases_of(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """Releases that run a kernel, by source and kernel."""
        return {(row.source, row.kernel): row.releases for row in self.kernels}

    def minors_of(self, cell: SiteCell) -> tuple[str, ...]:
        """Return the minor versions of the releases that run a cell's kernel, oldest first."""
        return minors(self.releases_of.get((cell.source, cell.kernel), ()))


def minors(releases: tuple[str, ...]) -> tuple[str, ...]:
    """Return the minor versions of releases, each once, in their order."""
    return tuple(dict.fromkeys(minor_of(release) for release in releases))


def minor_of(release: str) -> str:
    return ".".join(release.split(".")[:2])


def is_unproven(evidence: CellEvidence) -> bool:
    """Tell whether a failure says nothing about the cell: its infrastructure failed."""
    failure = evidence.failure
    return failure is not None and failure.failure_class is FailureClass.INFRASTRUCTURE


def is_built(evidence: CellEvidence) -> bool:
    """Tell whether evidence is of an image whose modules were held against their kernel."""
    return evidence.outcome is CellOutcome.BUILT and bool(evidence.modules)
