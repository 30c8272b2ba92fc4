"""Whether what a file names lies where it may: in the project, in a driver's source, or where the command line allows.

versions.yaml and sources come from strangers (pull requests), and links are part of them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import FormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedReader

_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MOST_HOPS = 16
_LARGEST = 256 * 1024**2


def find_problem(name: str, place: Path, allowed: Sequence[Path]) -> str | None:
    """Say why a name, which stands for ``place``, may not be used: it leads out of all ``allowed`` folders.

    None where it may.
    """
    try:
        place = Path(os.path.realpath(place))
    except (OSError, ValueError):
        return f"{name!r} is no path"
    if any(place.is_relative_to(folder.resolve()) for folder in allowed):
        return None
    folder = place if place.is_dir() else place.parent
    return (
        f"{name} leads out of the project, to {place}; only the command line can allow that: --allow-outside {folder}"
    )


def read_inside(root: Path, name: str) -> bytes:
    """Read a file below a folder that is somebody else's: links in it count as far as they stay inside.

    Raises:
        FormatError: the name leads out of the folder, or not to a regular file of at most 256 MiB. The message is the
            end of a sentence about the name.
    """
    with open_inside(root, name, most=_LARGEST) as stream:
        return stream.read(_LARGEST)


def open_inside(root: Path, name: str, *, most: int) -> BufferedReader:
    """Open a file of at most so many bytes as ``read_inside`` finds it. Errors are those of ``read_inside``."""
    with ExitStack() as held:
        handle = _find_inside(root, name, held)
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise FormatError(f"is no regular file of at most {most >> 20} MiB")
        return os.fdopen(os.open(f"/proc/self/fd/{handle}", _READ), "rb")


def open_regular(file: Path, *, most: int, follow: bool = True) -> BufferedReader:
    """Open a regular file of at most so many bytes: no FIFO is waited for, no device read without an end.

    Raises:
        OSError: it cannot be opened; also because it is a link that is not to be followed.
        FormatError: it is something else, or larger. The message is the end of a sentence about the file.
    """
    stream = os.fdopen(os.open(file, _READ if follow else _READ | os.O_NOFOLLOW), "rb")
    status = os.fstat(stream.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= most:
        return stream
    stream.close()
    raise FormatError(f"is larger than {most} bytes" if stat.S_ISREG(status.st_mode) else "is no regular file")


def find_problem_inside(root: Path, name: str) -> str | None:
    """Say why a name is no file below a folder, as ``read_inside`` would; None if it is one."""
    with ExitStack() as held:
        try:
            is_file = stat.S_ISREG(os.fstat(_find_inside(root, name, held)).st_mode)
        except FormatError as error:
            return error.message
    return None if is_file else "is no regular file"


def _find_inside(root: Path, name: str, held: ExitStack) -> int:
    """Return a handle of what a name leads to, opened name by name so that no link is followed unseen."""
    if name.startswith("/"):
        raise FormatError("leads out of it")
    folders = [_open(str(root), None, held)]
    words = name.split("/")
    hops = 0
    while words:
        word = words.pop(0)
        if word in {"", "."}:
            continue
        if word == "..":
            folders.pop()
        else:
            folders.append(_open(word, folders[-1], held))
        if not folders:
            raise FormatError("leads out of it")
        if stat.S_ISLNK(os.fstat(folders[-1]).st_mode):
            target = os.readlink("", dir_fd=folders.pop())
            hops += 1
            if target.startswith("/") or hops > _MOST_HOPS:
                raise FormatError(f"leads out of it: {word} is a link to {target[:200]!r}")
            words = [*target.split("/"), *words]
    return folders[-1]


def _open(word: str, folder: int | None, held: ExitStack) -> int:
    try:
        handle = os.open(word, _HANDLE, dir_fd=folder)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise FormatError(f"cannot be opened: {why or error}") from None
    held.callback(os.close, handle)
    return handle


def write_below(folder: Path, name: str, text: str) -> Path:
    """Write a file at a path below a folder, which strangers may have filled with links; returns its place.

    Raises:
        UsageError: the path leads out of the folder.
    """
    file = folder / name
    if not file.parent.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{file.parent} leads out of {folder}", hint="there is a link in it: remove it")
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, text.encode())
    return file


def replace_file(file: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Give a file a content in one step: a killed run leaves the old one whole, and no link is written through.

    The file that is written has a name that nobody can know before, and is never one that is there already.
    """
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:100]}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchmod(descriptor, mode)
        Path(name).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def file_digest(file: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
