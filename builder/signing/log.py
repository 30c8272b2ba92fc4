"""The signing log: what was signed, by which key, when and for which cell; a chain that shows what was touched."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from builder.errors import FormatError
from builder.foreign import parse_with, read_json
from builder.host.line_file import LineFile

if TYPE_CHECKING:
    from pathlib import Path

_FIRST = "0" * 64
_ENTRY = TypeAdapter(dict[str, str])
# What an entry must say: of a signature, or of a line that was set aside.
_WORDS = (
    {"time", "run", "cell", "module", "algorithm", "digest", "signed_sha256", "signer", "certificate", "development"},
    {"time", "torn_sha256", "torn_bytes"},
)


class SigningLog:
    """What was signed, by which key, when and for which cell: a line for each signature, never changed.

    Every line holds the SHA-256 of the line before it, so that a line that was changed, removed or put in between
    breaks the chain. Safe to append to from several threads.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines = LineFile(file)
        self._guard = threading.Lock()
        self._previous: str | None = None

    def append(self, entry: dict[str, str]) -> None:
        """Write an entry to the disk.

        Raises:
            OSError: it cannot be written, so the signature must not be used.
        """
        with self._guard:
            if torn := self._lines.set_torn_aside():
                facts = {"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "torn_sha256": torn.sha256}
                self._append({**facts, "torn_bytes": str(torn.size)})
            self._append(entry)

    def _append(self, entry: dict[str, str]) -> None:
        if self._previous is None:
            lines = self._lines.read()
            self._previous = _line_digest(lines[-1]) if lines else _FIRST
        line = json.dumps({**entry, "previous": self._previous}, separators=(",", ":")).encode()
        self._lines.append(line)
        self._previous = _line_digest(line)

    def read(self) -> list[dict[str, str]]:
        """Return all entries, oldest first. One with ``torn_bytes`` says that an incomplete line was set aside there.

        Raises:
            FormatError: the chain is broken; the message names the line.
        """
        entries = []
        previous = _FIRST
        for number, line in enumerate(self._lines.read(), start=1):
            try:
                entry = parse_with(_ENTRY, read_json(line, "it"), "entry")
                is_next = entry.get("previous") == previous and any(entry.keys() >= words for words in _WORDS)
            except FormatError:
                is_next = False
            if not is_next:
                raise FormatError(
                    f"{self._file}:{number}: this line does not follow the one before it: the log was changed by hand"
                )
            entries.append(entry)
            previous = _line_digest(line)
        return entries


def _line_digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
