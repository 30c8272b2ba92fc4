"""A folder that changes all at once: whoever looks sees the old one or the new one, and a killed run leaves the old.

Linux exchanges two names in one step (renameat2 with RENAME_EXCHANGE, since 3.15). Where a file system cannot, the old
folder is renamed first: for a moment there is none, and nothing is lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import HostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_TIMES = 16


@contextlib.contextmanager
def new_folder(place: Path, marker: str) -> Iterator[Path]:
    """Give an empty folder that takes the place of ``place`` when the block ends without an error.

    Args:
        place: where the folder will be; what is there must be a folder with the marker in it, empty, or nothing.
        marker: name of a file that tells that a folder is of this kind. The block has to write it.

    Raises:
        UsageError: something else is there, and nothing of it is touched.
        HostError: it cannot be written there.
    """
    _need_own(place, marker)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(place, marker)
        folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=_prefix(place)))
    except OSError as error:
        raise HostError(f"{place} cannot be written: {error.strerror}") from None
    with _held(folder) as is_ours:
        if not is_ours:  # nobody else knows its name
            raise HostError(f"{folder} was taken by another run")
        try:
            folder.chmod(0o755)
            yield folder
            _need_own(place, marker)
            _put(folder, place)
        except OSError as error:
            raise HostError(f"{place} cannot be written: {error.strerror or error}") from None
        finally:  # the old one, or what did not become a new one
            shutil.rmtree(folder, ignore_errors=True)


def _prefix(place: Path) -> str:
    return f".{place.name[:100]}.new-"


def _need_own(place: Path, marker: str) -> None:
    hint = f"choose another folder; one that was written by this command has {marker} in it"
    if place.is_symlink():
        raise UsageError(f"{place} is a link, and what it leads to may be somebody else's", hint=hint)
    if not os.path.lexists(place):
        return
    if not place.is_dir():
        raise UsageError(f"{place} is no folder, and is not written over", hint=hint)
    if not _is_own(place, marker) and next(place.iterdir(), None) is not None:
        raise UsageError(
            f"{place} has files in it that were not written by this command; nothing is touched", hint=hint
        )


def _is_own(folder: Path, marker: str) -> bool:
    file = folder / marker
    return file.is_file() and not file.is_symlink()


def _put(folder: Path, place: Path) -> None:
    """Let the new folder have the name; the old one, if there is one, has the new one's."""
    for _ in range(_TIMES):
        try:
            folder.rename(place)  # an empty folder is replaced
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            return
        with contextlib.suppress(FileNotFoundError):  # another run took it away just now
            _exchange(folder, place)
            return
    raise HostError(f"other runs go on writing {place}", hint="run it again when they are done")


def _exchange(one: Path, other: Path) -> None:
    try:
        _rename_exchange(os.fsencode(one), os.fsencode(other))
    except OSError as error:
        if error.errno not in _CANNOT_EXCHANGE:
            raise
        aside = one.with_name(f"{one.name}.old")
        other.rename(aside)
        one.rename(other)
        aside.rename(one)


def _rename_exchange(one: bytes, other: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _remove_left_over(place: Path, marker: str) -> None:
    """Remove what killed runs left beside a folder; what a run that is alive works at is locked by it."""
    for folder in place.parent.glob(f"{_prefix(place)}*"):
        if folder.is_symlink() or not folder.is_dir():
            continue
        with _held(folder) as is_ours:
            if not is_ours:
                continue
            if folder.name.endswith(".old") and _is_own(folder, marker) and not os.path.lexists(place):
                folder.rename(place)  # it was killed between two renames
            else:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Lock a folder itself, which goes with the folder whatever its name is, and ends with the process."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
