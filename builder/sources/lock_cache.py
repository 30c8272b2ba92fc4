"""What the YAML of a lock says, kept as JSON: nothing changes it between most runs, and YAML takes ten times as long.

What is kept goes by the digest of the text, and says its own. It is data, and judged as what comes out of the file is:
only reading is saved.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from builder.digest import content_id, sha256_of
from builder.errors import FormatError
from builder.foreign import read_value
from builder.host.places import open_regular, replace_file

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "1"
_LARGEST = 16 * 1024**2
_MOST_FILES = 8


def recall(folder: Path, text: str) -> object:
    """Return what a text says, if that is kept; else None."""
    with contextlib.suppress(OSError, FormatError):
        file = _file_of(folder, text)
        with open_regular(file, most=_LARGEST, follow=False) as stream:
            digest, _, content = stream.read(_LARGEST).partition(b"\n")
        if digest.decode("ascii", "replace") == sha256_of(content):
            return read_value(content, "it", largest=_LARGEST)
    return None


def keep(folder: Path, text: str, data: object) -> None:
    """Keep what a text says, where JSON says it in the same way; a folder that takes nothing is no harm."""
    try:
        content = json.dumps(data, separators=(",", ":"), allow_nan=False).encode()
        is_same = read_value(content, "it", largest=_LARGEST) == data  # names that are no texts would be
    except (TypeError, ValueError, RecursionError, FormatError):
        return
    if not is_same or len(content) > _LARGEST // 2:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(_file_of(folder, text), f"{sha256_of(content)}\n".encode() + content)
        by_age = sorted(folder.glob("*.json"), key=lambda file: file.lstat().st_mtime, reverse=True)
        for file in by_age[_MOST_FILES:]:
            file.unlink()


def _file_of(folder: Path, text: str) -> Path:
    return folder / f"{content_id('lock', _FORMAT, text)}.json"
