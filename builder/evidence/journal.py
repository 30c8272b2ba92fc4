"""Evidence: what a stage left behind for a cell, kept in one append-only journal.

``journal.jsonl`` in the work folder holds a line for everything that was finished. A line is written and flushed
to disk in one step after the artefact exists, so a run that is killed at any moment has lost nothing but the cell
it was at. The last line about a cell counts; a torn last line (``builder.host.line_file``) is set aside.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from builder.errors import (
    Failure,
    FormatError,
    HostError,
)
from builder.foreign import parse_with, read_json
from builder.host.line_file import LineFile

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)


def make_run_id(prefix: str = "") -> str:
    """Return a name for a run that no other has: in containers, process ids are the same again and again."""
    return f"{prefix}{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}-{secrets.token_hex(2)}"


class Outcome(StrEnum):
    BUILT = "built"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleRecord:
    """One module of a final image: file name, SHA-256 and size in bytes, and what its proof of fit rests on.

    ``imports`` counts the symbols that were compared with the kernel's; ``aliases`` are what the kernel finds it by.
    """

    name: str
    sha256: str
    size: int
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
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEvidence:
    """The latest word about a cell. ``timings`` are seconds by stage; ``inputs`` are what its key is made of."""

    cell: str
    driver: str
    kernel: str
    key: str
    outcome: Outcome
    inputs: Mapping[str, str]
    run: str
    finished: str
    timings: Mapping[str, float] = field(default_factory=dict)
    image: str = ""
    digest: str = ""
    modules: tuple[ModuleRecord, ...] = ()
    firmware: tuple[FileRecord, ...] = ()
    signers: tuple[str, ...] = ()
    """SHA-256 fingerprints of the certificates whose signatures were verified in the final image."""
    failure: Failure | None = None
    log: str = ""
    derived: bool = False
    """The image was there and its evidence was not: it was proven again. When, by whom it was built is not known."""


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
    seconds: float
    refusals: tuple[str, ...] = ()
    """The kernel's own words for the copies that it had to refuse."""
    allowed: tuple[str, ...] = ()
    """What the driver's allow list excused."""
    code: str = ""
    """Code of the failure; empty where it passed."""
    log: str = ""
    wish: str = "auto"

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
class PublishEvidence:
    """A cell's image in a registry: full name with tag, digest of its manifest, key of the cell."""

    cell: str
    key: str
    name: str
    digest: str
    run: str
    finished: str
    bytes_sent: int = 0
    replaced: str = ""
    """Digest that the tag stood for before, where somebody forced it to be replaced."""
    reason: str = ""
    """Why it was forced."""


class Journal:
    """The journal file of a work folder; safe to append to from several threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines = LineFile(file)
        self._guard = threading.Lock()
        self.cells: dict[str, CellEvidence] = {}
        self.boots: dict[str, BootEvidence] = {}
        """The word that counts about each cell: the latest, but for weaker passes of what was proven already."""
        self.last_boots: dict[str, BootEvidence] = {}
        """The latest boot test of each cell, whatever it is worth."""
        self.published: dict[str, PublishEvidence] = {}
        """By full name: what every tag that was written stands for."""
        self._read()

    def record(self, evidence: CellEvidence) -> None:
        line = json.dumps({"type": "cell", **asdict(evidence)}, separators=(",", ":"))
        with self._guard:
            self._append(line)
            self.cells[evidence.cell] = evidence

    def record_boot(self, evidence: BootEvidence) -> None:
        line = json.dumps({"type": "boot", **asdict(evidence)}, separators=(",", ":"))
        with self._guard:
            self._append(line)
            self._keep_boot(evidence)

    def _keep_boot(self, evidence: BootEvidence) -> None:
        self.last_boots[evidence.cell] = evidence
        if evidence.counts_over(self.boots.get(evidence.cell)):
            self.boots[evidence.cell] = evidence

    def record_publish(self, evidence: PublishEvidence) -> None:
        line = json.dumps({"type": "publish", **asdict(evidence)}, separators=(",", ":"))
        with self._guard:
            self._append(line)
            self.published[evidence.name] = evidence

    def is_published(self, digest: str) -> bool:
        """Tell whether a digest was ever given a name in a registry; other threads may be recording meanwhile."""
        with self._guard:
            return any(entry.digest == digest for entry in self.published.values())

    def note(self, event: str, **facts: Any) -> None:
        """Record an event of the run itself."""
        with self._guard:
            self._append(json.dumps({"type": "event", "event": event, **facts}, separators=(",", ":")))

    def _append(self, line: str) -> None:
        try:
            if torn := self._lines.set_torn_aside():
                self._lines.append(json.dumps({"type": "event", "event": "torn-line", **asdict(torn)}).encode())
            self._lines.append(line.encode())
        except OSError as error:
            raise HostError(
                f"{self._file}: what was done cannot be recorded: {error.strerror}",
                hint="make room, and run the same command again: it goes on from what is recorded",
            ) from error

    def _read(self) -> None:
        for number, line in enumerate(self._lines.read(), start=1):
            try:
                if line.startswith(b'{"type":"cell"'):
                    evidence = parse_with(_CELL, read_json(line, "it"), "evidence of a cell")
                    self.cells[evidence.cell] = evidence
                elif line.startswith(b'{"type":"boot"'):
                    self._keep_boot(parse_with(_BOOT, read_json(line, "it"), "evidence of a boot test"))
                elif line.startswith(b'{"type":"publish"'):
                    published = parse_with(_PUBLISH, read_json(line, "it"), "evidence of a publish")
                    self.published[published.name] = published
            except FormatError as error:
                _log.warning("%s:%d: unreadable line passed over: %s", self._file, number, error.message)


_CELL = TypeAdapter(CellEvidence)
_BOOT = TypeAdapter(BootEvidence)
_PUBLISH = TypeAdapter(PublishEvidence)
