"""Folders that hostile code filled: read once without following anything, and removed whatever is in them.

Every name is opened relative to its folder's descriptor, first as a mere handle (``O_PATH``), which neither waits for
a FIFO nor wakes a device; what the handle says is what is read, so nothing can be exchanged in between.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.store.result import CompileResult, File, Folder, Link, check_path, make_result, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.store.result import ResultEntry

_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = {
    stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
_REMOVED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much may be in a folder. ``size`` in bytes counts what files say that they have, holes and all."""

    entries: int = 50_000
    size: int = 512 * 1024**2


_BOUNDS = Bounds()


def read_result(folder: Path, bounds: Bounds = _BOUNDS) -> CompileResult:
    """Read what a compile left behind.

    Raises:
        CellError: of class compile: it holds something that no image should, or too much.
    """
    return make_result(_read_entries(folder, bounds))


def copy_files(folder: Path, target: Path, bounds: Bounds) -> None:
    """Copy the files and folders of a folder into a new one of ours; like ``read_result``, but nothing is in memory.

    Raises:
        CellError: as ``read_result``; also because of a link: nothing may stand for something else.
    """
    target.mkdir()
    for path, handle, status in _walk(folder, bounds):
        if stat.S_ISDIR(status.st_mode):
            (target / path).mkdir()
        elif stat.S_ISREG(status.st_mode):
            with (target / path).open("xb") as copy:
                for chunk in _chunks(path, handle, status):
                    copy.write(chunk)
        else:
            raise refuse("result-link", f"{path} is a link")


def write_result(result: CompileResult, folder: Path) -> None:
    """Write a result into a new folder, which must not be there yet; modes do not depend on the umask."""
    folder.mkdir()
    folder.chmod(0o755)
    for path, entry in result.entries.items():
        place = folder / path
        match entry:
            case Folder():
                place.mkdir()
                place.chmod(0o755)
            case Link(target):
                place.symlink_to(target)
            case File(content, is_program):
                with place.open("xb") as stream:
                    stream.write(content)
                    os.fchmod(stream.fileno(), 0o755 if is_program else 0o644)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, however deep: ``shutil.rmtree`` recurses, and fails on hostile depth.

    Folders are moved to the top one by one, so there are never more than two levels to look into.
    """
    if not folder.is_dir() or folder.is_symlink():
        folder.unlink(missing_ok=True)
        return
    with _opened(_open_folder(None, str(folder))) as top:
        grave = secrets.token_hex(8)
        number = 0
        while names := _some_names(top):
            for name in names:
                number = _remove_entry(top, name, grave, number)
        folder.rmdir()


def _remove_entry(top: int, name: str, grave: str, number: int) -> int:
    """Remove an entry of the folder ``top``, after moving the folders in it up; returns the next free number."""
    try:
        os.unlink(name, dir_fd=top)
    except IsADirectoryError:
        with _opened(_open_folder(top, name)) as inner:
            while found := _some_names(inner):
                for other in found:
                    try:
                        os.unlink(other, dir_fd=inner)
                    except IsADirectoryError:
                        os.close(_open_folder(inner, other))
                        os.rename(other, f"{grave}-{number}", src_dir_fd=inner, dst_dir_fd=top)
                        number += 1
        os.rmdir(name, dir_fd=top)
    return number


def _open_folder(parent: int | None, name: str) -> int:
    """Open a folder to be emptied; its owner may have taken all rights to it away."""
    with _opened(os.open(name, _HANDLE | os.O_DIRECTORY, dir_fd=parent)) as handle:
        with contextlib.suppress(PermissionError):
            Path(f"/proc/self/fd/{handle}").chmod(0o700)
        return os.open(".", _LIST, dir_fd=handle)


def _some_names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry, _ in zip(entries, range(_REMOVED_AT_ONCE), strict=False)]


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_entries(folder: Path, bounds: Bounds) -> Iterator[tuple[str, ResultEntry]]:
    for path, handle, status in _walk(folder, bounds):
        if stat.S_ISDIR(status.st_mode):
            yield path, Folder()
        elif stat.S_ISLNK(status.st_mode):
            yield path, Link(os.readlink("", dir_fd=handle))
        else:
            content = b"".join(_chunks(path, handle, status))
            yield path, File(content, is_program=bool(status.st_mode & stat.S_IXUSR))


def _chunks(path: str, handle: int, status: os.stat_result) -> Iterator[bytes]:
    """Read a file through its handle, exactly as long as it was when it was counted."""
    left = status.st_size
    with _opened(_reopen(path, handle)) as stream:
        while chunk := os.read(stream, min(left + 1, 16 * 1024**2)):
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    if left:
        raise refuse("result-changed", f"{path} changed while it was being read")


def _reopen(path: str, handle: int) -> int:
    try:
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise refuse("result-unreadable", f"{path} cannot be read: {error.strerror}") from None


def _walk(folder: Path, bounds: Bounds) -> Iterator[tuple[str, int, os.stat_result]]:
    """Return path, handle and status of everything below a folder, a folder before what is in it.

    Raises:
        CellError: something is neither a file, a folder nor a link, has rights that nothing in an image should have,
            cannot be read, or is too much.
    """
    try:
        root = os.open(folder, _HANDLE | os.O_DIRECTORY)
    except OSError as error:
        raise refuse("result-unreadable", f"{folder.name} is no folder: {error.strerror}") from None
    with _opened(root):
        walk = _Walk(bounds, os.fstat(root).st_dev)
        yield from walk.below(root, "")
        walk.check_names()


class _Walk:
    """The count of what was seen."""

    def __init__(self, bounds: Bounds, device: int) -> None:
        self._bounds = bounds
        self._device = device
        self._entries = 0
        self._size = 0
        self._names: Counter[int] = Counter()
        self._shared: dict[int, tuple[str, int]] = {}

    def below(self, folder: int, prefix: str) -> Iterator[tuple[str, int, os.stat_result]]:
        for name in sorted(self._list(folder, prefix)):
            path = f"{prefix}{name}"
            check_path(path)
            with _opened(self._handle(folder, name, path)) as handle:
                status = os.fstat(handle)
                self._check(path, status)
                yield path, handle, status
                if stat.S_ISDIR(status.st_mode):
                    yield from self.below(handle, f"{path}/")

    def check_names(self) -> None:
        """Refuse a file that has names elsewhere, too: whose it is cannot be known."""
        for inode, (path, names) in self._shared.items():
            if self._names[inode] != names:
                raise refuse("result-hard-link", f"{path} is also a file outside of it")

    def _list(self, folder: int, prefix: str) -> list[str]:
        names = []
        try:
            with _opened(os.open(".", _LIST, dir_fd=folder)) as listed, os.scandir(listed) as entries:
                for entry in entries:
                    self._entries += 1
                    if self._entries > self._bounds.entries:
                        raise refuse("result-too-large", f"it holds more than {self._bounds.entries} files")
                    names.append(entry.name)
        except OSError as error:
            raise refuse("result-unreadable", f"{prefix or '/'} cannot be read: {error.strerror}") from None
        return names

    @staticmethod
    def _handle(folder: int, name: str, path: str) -> int:
        try:
            return os.open(name, _HANDLE, dir_fd=folder)
        except OSError as error:
            raise refuse("result-unreadable", f"{path} cannot be read: {error.strerror}") from None

    def _check(self, path: str, status: os.stat_result) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if kind in _SPECIAL:
            raise refuse("result-special", f"{path} is {_SPECIAL[kind]}")
        if kind == stat.S_IFDIR:
            if status.st_dev != self._device:
                raise refuse("result-special", f"{path} is another file system")
            return
        if kind == stat.S_IFREG and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            raise refuse("result-setuid", f"{path} has the rights of another user (setuid or setgid)")
        self._size += status.st_size
        if self._size > self._bounds.size:
            raise refuse("result-too-large", f"with {path} it holds more than {self._bounds.size >> 20} MiB")
        if status.st_nlink > 1:
            self._names[status.st_ino] += 1
            self._shared[status.st_ino] = (path, status.st_nlink)
