"""Reads .deb packages (deb(5)): an ar archive whose member data.tar.* holds the files. Nothing is executed."""

from __future__ import annotations

import posixpath
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from debian.arfile import ArError, ArFile

from builder.errors import SourceError
from builder.image.archive import BROKEN, read_tar

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Packages of this release still ship files in /bin, /lib and so on, which today are links into /usr.
MERGED_FOLDERS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_MOST_UNPACKED = 2 * 1024**3


_PACKED = ("", ".xz", ".gz")


def read_members(deb: Path, *, installed: int = 0) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield the files of a package, with paths below ``usr`` where folders are merged, and their contents.

    Args:
        deb: the package.
        installed: bytes that the archive's signed index says it unpacks to: firmware of 2 MB becomes 270.

    Raises:
        SourceError: the file is damaged, or holds a path or kind of file that no package should.
    """
    for member, content in _members(deb, lambda _: True, installed=installed):
        if member.name == ".":
            continue
        if member.islnk():
            member.linkname = _clean_path(member.linkname, deb)
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise SourceError(f"{deb.name}: {member.name} is a device or a pipe, which no package should hold")
        yield member, content


def find_members(deb: Path, wanted: Callable[[str], bool], *, most: int) -> dict[str, bytes]:
    """Return the contents of the regular files whose cleaned path is wanted; stops reading after ``most`` of them.

    Raises:
        SourceError: the file is damaged.
    """
    found: dict[str, bytes] = {}
    for member, content in _members(deb, wanted):
        if member.isreg() and wanted(member.name):
            found[member.name] = content
            if len(found) == most:
                break
    return found


def _members(
    deb: Path, wanted: Callable[[str], bool], *, installed: int = 0
) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield the members of a package by cleaned path, with their contents where those are wanted."""
    try:
        with deb.open("rb") as stream:
            for member, content in read_tar(_data_tar(deb, stream), most=_MOST_UNPACKED, told=installed):
                member.name = _clean_path(member.name, deb)
                yield member, content.read_all() if member.isreg() and wanted(member.name) else b""
    except (ArError, *BROKEN) as error:
        raise SourceError(f"{deb.name} is not a readable Debian package: {error}") from error


def _data_tar(deb: Path, stream: BinaryIO) -> IO[bytes]:
    for member in ArFile(fileobj=stream).getmembers():
        if member.name.startswith("data.tar"):
            if (packed := member.name.removeprefix("data.tar")) not in _PACKED:
                raise SourceError(f"{deb.name}: compression {packed!r} is not one that Debian's packages use here")
            return cast("IO[bytes]", member)
    raise SourceError(f"{deb.name} is not a Debian package: it has no data.tar")


def _clean_path(path: str, deb: Path) -> str:
    clean = posixpath.normpath(path)
    if clean.startswith(("/", "..")):
        raise SourceError(f"{deb.name}: {path} points out of the package")
    top = clean.split("/", 1)[0]
    return f"usr/{clean}" if top in MERGED_FOLDERS else clean
