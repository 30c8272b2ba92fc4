"""Tells a file or socket from another of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Identity(NamedTuple):
    """What the kernel knows a file by, and when it was changed last."""

    device: int
    inode: int
    changed_ns: int


def identify(file: Path) -> Identity | None:
    """Return what lies there, a link as a link; nothing where nothing can be seen."""
    try:
        found = file.lstat()
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino, found.st_ctime_ns)
