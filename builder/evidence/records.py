"""What a stage leaves behind for a cell. Pure."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from builder.drivers.commit import SourceCommit  # noqa: TC001 - pydantic reads annotations
from builder.errors import Failure  # noqa: TC001 - pydantic reads annotations
from builder.image.packed_layer import PackedLayer  # noqa: TC001 - pydantic reads annotations

# A journal may be a stranger's: what nothing ever takes is no record, and nothing is worked out of it.
Seconds = Annotated[float, Field(ge=0, le=1e8, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=2**53)]


class CellOutcome(StrEnum):
    BUILT = "built"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleRecord:
    """One module of a final image: file name, SHA-256 and size in bytes, and what its proof of fit rests on.

    ``imports`` counts the symbols that were compared with the kernel's; ``aliases`` are what the kernel finds it by.
    """

    name: str
    sha256: str
    size: Bytes
    vermagic: str = ""
    imports: int = 0
    depends: tuple[str, ...] = ()
    firmware: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    license: str = ""
    version: str = ""
    srcversion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """Another file of a final image: path in it, SHA-256, size in bytes."""

    path: str
    sha256: str
    size: Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEvidence:
    """The latest word about an image that was to be made. ``inputs`` are what its key is made of.

    ``digest`` is that of the image in every registry, ``stored`` that of the same image in this container store, which
    keeps layers unpacked. ``timings`` are seconds by stage, ``cpu`` seconds of processors; empty where an older version
    recorded it.
    """

    key: str
    outcome: CellOutcome
    inputs: Mapping[str, str]
    run: str
    finished: str
    started: str = ""
    """When its image was begun; empty where an older version recorded it."""
    timings: Mapping[str, Seconds] = field(default_factory=dict)
    cpu: Mapping[str, Seconds] = field(default_factory=dict)
    image: str = ""
    digest: str = ""
    stored: str = ""
    base_layers: Mapping[str, PackedLayer] = field(default_factory=dict)
    """Layers of a base image that stay as its own registry has them, by diff id."""
    commits: tuple[SourceCommit, ...] = ()
    """Where its source and its project came from, as far as they lie in repositories."""
    failure: Failure | None = None
    log: str = ""
    derived: bool = False
    """The image was there and its evidence was not: it was proven again. When, by whom it was built is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEvidence(ImageEvidence):
    """The latest word about a cell."""

    cell: str
    driver: str
    kernel: str
    modules: tuple[ModuleRecord, ...] = ()
    firmware: tuple[FileRecord, ...] = ()
    signers: tuple[str, ...] = ()
    """SHA-256 fingerprints of the certificates whose signatures were verified in the final image."""
    reason: str = ""
    """Code of the decision that made its image, and ``why`` its sentence; empty where an older version recorded it."""
    why: str = ""


BOOT_STRENGTHS = ("any", "secure", "signed")
"""What a boot test can prove, weakest first; ``boot_strength`` says which one proved what."""


def boot_strength(mode: object, signed_by: object) -> str:
    """Return what a boot test proved, as one of ``BOOT_STRENGTHS``.

    any: modules load on their kernel. secure: copies of them with a throwaway signature load under Secure Boot and
    lockdown. signed: so do the modules themselves, with the signatures that they have.
    """
    if mode != "secure":
        return "any"
    return "signed" if signed_by == "signers" else "secure"


def is_strong_enough(strength: str, wanted: str) -> bool:
    return BOOT_STRENGTHS.index(strength) >= BOOT_STRENGTHS.index(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootEvidence:
    """A boot test of a cell that told something about its modules.

    ``key`` hashes the cell's key, its kernel's image and the test; ``wish`` is what was asked for (auto, secure,
    plain) and ``mode`` what it was, secure or plain; ``signed_by`` says whose signatures were verified: signers,
    throwaway (the modules are unsigned, copies were tested), or nobody.
    """

    cell: str
    key: str
    digest: str
    passed: bool
    run: str
    finished: str
    mode: str
    acceleration: str
    enrolled: str
    signed_by: str
    seconds: Seconds
    refusals: tuple[str, ...] = ()
    """The kernel's own words for the copies that it had to refuse."""
    allowed: tuple[str, ...] = ()
    """What the driver's allow list excused."""
    notes: tuple[str, ...] = ()
    """What was not exercised, such as modules without their hardware, and other facts that are no faults."""
    code: str = ""
    """Code of the failure; empty where it passed."""
    log: str = ""
    wish: str = "auto"
    from_snapshot: bool = False
    """Whether its firmware came up in an earlier guest."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What the test was made of: digests, by the words in which a change of them is told."""

    @property
    def strength(self) -> str:
        """One of ``BOOT_STRENGTHS``."""
        return boot_strength(self.mode, self.signed_by)

    def satisfies(self, wish: str) -> bool:
        """Tell whether it is in the mode that is wanted; ``auto`` chose the strongest that the kernel can."""
        return wish == "plain" or self.mode == "secure" or (wish == "auto" and self.wish == "auto")

    def counts_over(self, previous: BootEvidence | None) -> bool:
        """Tell whether it is the word about its cell from now on: a weaker pass of the same image and test is not."""
        if previous is None or (previous.key, previous.digest) != (self.key, self.digest):
            return True
        return not (self.passed and previous.passed) or is_strong_enough(self.strength, previous.strength)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelRecord:
    """A Python package of a component image: name, version, file name and SHA-256 of the wheel."""

    name: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """How an image was started. ``outcome``: ``passed``, or ``not-run``, and then ``why``.

    ``by`` is what ran it: the machine's own processor (``native``) or ``qemu-user``.
    """

    outcome: str
    why: str = ""
    by: str = ""
    command: tuple[str, ...] = ()
    seconds: Seconds = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentEvidence(ImageEvidence):
    """The latest word about a component image."""

    component: str
    """``ComponentItem.id``."""
    arch: str
    size: Bytes = 0
    """Bytes of all files, unpacked."""
    wheels: tuple[WheelRecord, ...] = ()
    self_test: SelfTest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishEvidence:
    """A cell's image in a registry: full name with tag, digest of its manifest, key of the cell."""

    cell: str
    key: str
    name: str
    digest: str
    run: str
    finished: str
    bytes_sent: Bytes = 0
    replaced: str = ""
    """Digest that the tag stood for before, where somebody forced it to be replaced."""
    reason: str = ""
    """Why it was forced."""
