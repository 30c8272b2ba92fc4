"""Files of lines that only grow: journal and signing log. What was appended is on the disk as a whole, or not at all.

A line is written with its newline and flushed to disk before anybody is told. A disk that fills up in the middle of it,
or a kill, can leave an incomplete last line without a newline, and nothing else: it was never acknowledged. The next
append sets it aside, into a file beside the other, and leaves a line that says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Torn:
    """An incomplete last line that was set aside: SHA-256 and size in bytes."""

    sha256: str
    size: int


class LineFile:
    """A file of lines; appending is for who holds the project's lock, and for one thread at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> list[bytes]:
        """Return all complete lines, oldest first; none where there is no file."""
        try:
            return self._file.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []

    def append(self, line: bytes) -> None:
        """Append a line; when this returns, it is on the disk.

        Raises:
            OSError: it cannot be written; the file is as it was.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab", buffering=0) as stream:
            _append(stream.fileno(), line + b"\n", self._file)

    def set_torn_aside(self) -> Torn | None:
        """Move an incomplete last line into ``FILE.torn``; returns what that was, None where there is none.

        Raises:
            OSError: it cannot be moved; the file is as it was.
        """
        if self._is_whole():
            return None
        content = self._file.read_bytes()
        place = content.rfind(b"\n") + 1
        torn = content[place:]
        aside = self._file.with_name(f"{self._file.name}.torn")
        LineFile(aside).append(torn)
        with self._file.open("r+b", buffering=0) as stream:
            stream.truncate(place)
            os.fsync(stream.fileno())
        _log.warning(
            "%s: the last line was incomplete, as a kill or a full disk leaves it: nothing had been told about it; its "
            "%d bytes are in %s now",
            self._file, len(torn), aside,
        )  # fmt: skip
        return Torn(hashlib.sha256(torn).hexdigest(), len(torn))

    def _is_whole(self) -> bool:
        try:
            with self._file.open("rb") as stream:
                if stream.seek(0, os.SEEK_END) == 0:
                    return True
                stream.seek(-1, os.SEEK_END)
                return stream.read(1) == b"\n"
        except FileNotFoundError:
            return True


def _append(descriptor: int, data: bytes, file: Path) -> None:
    start = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        rest = memoryview(data)
        while rest:  # a disk that is filling up takes a part first, and refuses the next
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):  # what stays is torn, and known by its missing newline
            os.ftruncate(descriptor, start)
            os.fsync(descriptor)
        raise OSError(error.errno, error.strerror, str(file)) from error
