"""Writes initramfs archives: cpio "newc" (Documentation/driver-api/early-userspace/buffer-format.rst). Pure."""

from __future__ import annotations

import posixpath
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_ALIGNMENT = 4
_FOLDER_MODE = stat.S_IFDIR | 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFile:
    """A file of the guest: absolute path without the leading slash."""

    path: str
    content: bytes
    mode: int = 0o644


def write_initramfs(files: Iterable[GuestFile]) -> bytes:
    """Return an archive with the files and the folders that they lie in; equal files give equal bytes.

    Not compressed: the firmware copies it faster than a guest in software emulation could unpack it.
    """
    by_path = {posixpath.normpath(file.path): file for file in files}
    folders = {folder for path in by_path for folder in _parents(path)}
    parts = []
    for number, path in enumerate(sorted(by_path.keys() | folders), start=1):
        file = by_path.get(path)
        mode = _FOLDER_MODE if file is None else stat.S_IFREG | file.mode
        parts.append(_entry(number, path, mode, b"" if file is None else file.content))
    return b"".join([*parts, _entry(0, _TRAILER, 0, b"")])


def _entry(number: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # ino, mode, uid, gid, nlink, mtime, size, device, device of a special file (major and minor each), name, check sum
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = _MAGIC + b"".join(b"%08X" % field for field in fields)
    return _pad(header + name) + _pad(content)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path
