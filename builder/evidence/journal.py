"""Evidence: what a stage left behind for a cell, kept in one append-only journal.

``journal.jsonl`` in the work folder holds a line for everything that was finished. A line is written and flushed
to disk in one step after the artefact exists, so a run that is killed at any moment has lost nothing but the cell
it was at. The last line about a cell counts; a torn last line (``builder.host.line_file``) is set aside.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import threading
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from builder.errors import (
    FormatError,
    HostError,
)
from builder.evidence.records import BootEvidence, CellEvidence, ComponentEvidence, PublishEvidence
from builder.foreign import parse_with, read_json
from builder.host.line_file import LineFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = logging.getLogger(__name__)

Record = CellEvidence | BootEvidence | ComponentEvidence | PublishEvidence


def make_run_id(prefix: str = "") -> str:
    """Return a name for a run that no other has: in containers, process ids are the same again and again."""
    return f"{prefix}{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}-{secrets.token_hex(2)}"


def time_stamp() -> str:
    """Return the time as records have it (RFC 3339, UTC, seconds)."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


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
        self.components: dict[str, ComponentEvidence] = {}
        """The latest word about each component image, by its id."""
        self.published: dict[str, PublishEvidence] = {}
        """By full name: what every tag that was written stands for."""
        self._read()

    def record(self, evidence: CellEvidence) -> None:
        line = json.dumps({"type": "cell", "cell": evidence.cell, **asdict(evidence)}, separators=(",", ":"))
        with self._guard:
            self._append(line)
            self.cells[evidence.cell] = evidence

    def record_boot(self, evidence: BootEvidence) -> None:
        line = json.dumps({"type": "boot", **asdict(evidence)}, separators=(",", ":"))
        with self._guard:
            self._append(line)
            self._keep_boot(evidence)

    def record_component(self, evidence: ComponentEvidence) -> None:
        named = {"type": "component", "component": evidence.component}
        line = json.dumps({**named, **asdict(evidence)}, separators=(",", ":"))
        with self._guard:
            self._append(line)
            self.components[evidence.component] = evidence

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

    def records(self) -> Iterator[Record]:
        """Yield everything on record, oldest first, as the file has it now; what was read before is read again."""
        for line in self._lines.read():
            with contextlib.suppress(FormatError):  # told when the journal was opened
                if (found := _parse(line)) is not None:
                    yield found

    def _read(self) -> None:
        for number, line in enumerate(self._lines.read(), start=1):
            try:
                found = _parse(line)
            except FormatError as error:
                _log.warning("%s:%d: unreadable line passed over: %s", self._file, number, error.message)
                continue
            match found:
                case CellEvidence():
                    self.cells[found.cell] = found
                case BootEvidence():
                    self._keep_boot(found)
                case ComponentEvidence():
                    self.components[found.component] = found
                case PublishEvidence():
                    self.published[found.name] = found


_CELL = TypeAdapter(CellEvidence)
_BOOT = TypeAdapter(BootEvidence)
_COMPONENT = TypeAdapter(ComponentEvidence)
_PUBLISH = TypeAdapter(PublishEvidence)


def _parse(line: bytes) -> Record | None:
    """Return what a line is evidence of; None where it is of a run itself, or of what a later version records.

    Raises:
        FormatError: it is not what it says.
    """
    if line.startswith(b'{"type":"cell"'):
        return parse_with(_CELL, read_json(line, "it"), "evidence of a cell")
    if line.startswith(b'{"type":"boot"'):
        return parse_with(_BOOT, read_json(line, "it"), "evidence of a boot test")
    if line.startswith(b'{"type":"component"'):
        return parse_with(_COMPONENT, read_json(line, "it"), "evidence of a component")
    if line.startswith(b'{"type":"publish"'):
        return parse_with(_PUBLISH, read_json(line, "it"), "evidence of a publish")
    return None
