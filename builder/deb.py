"""Reads .deb packages (deb(5)): an ar archive whose member data.tar.* holds the files. Nothing is executed."""

from __future__ import annotations

import gzip
import io
import lzma
import posixpath
import tarfile
import zlib
from typing import TYPE_CHECKING, cast

from debian.arfile import ArError, ArFile

from builder.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO

# Packages of this release still ship files in /bin, /lib and so on, which today are links into /usr.
MERGED_FOLDERS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_MOST_UNPACKED = 2 * 1024**3


def read_members(deb: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield the files of a package, with paths below ``usr`` where folders are merged, and their contents.

    Raises:
        SourceError: the file is damaged, or holds a path or kind of file that no package should.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_data_tar(deb)), mode="r:") as archive:
            for member in archive:
                name = _clean_path(member.name, deb)
                if name == ".":
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                member.name = name
                if member.islnk():
                    member.linkname = _clean_path(member.linkname, deb)
                if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
                    raise SourceError(f"{deb.name}: {name} is a device or a pipe, which no package should hold")
                yield member, content.read() if content else b""
    except (ArError, tarfile.TarError, OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise SourceError(f"{deb.name} is not a readable Debian package: {error}") from error


def find_members(deb: Path, wanted: Callable[[str], bool], *, most: int) -> dict[str, bytes]:
    """Return the contents of the regular files whose cleaned path is wanted; stops reading after ``most`` of them.

    Raises:
        SourceError: the file is damaged, or what is wanted is larger than anything a package should hold.
    """
    found: dict[str, bytes] = {}
    try:
        with deb.open("rb") as stream, _open_data_tar(deb, ArFile(fileobj=stream)) as archive:
            for member in archive:
                name = _clean_path(member.name, deb)
                if member.isreg() and wanted(name):
                    if member.size > _MOST_UNPACKED - sum(map(len, found.values())):
                        raise SourceError(f"{deb.name}: {name} is larger than {_MOST_UNPACKED} bytes")
                    content = archive.extractfile(member)
                    found[name] = content.read() if content else b""
                    if len(found) == most:
                        break
    except (ArError, tarfile.TarError, OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise SourceError(f"{deb.name} is not a readable Debian package: {error}") from error
    return found


def _open_data_tar(deb: Path, archive: ArFile) -> tarfile.TarFile:
    """Open the tar of a package as a stream: what comes first is there without unpacking the rest."""
    for member in archive.getmembers():
        if not member.name.startswith("data.tar"):
            continue
        stream = cast("IO[bytes]", member)
        match member.name.removeprefix("data.tar"):
            case ".xz":
                return tarfile.open(fileobj=stream, mode="r|xz")
            case ".gz":
                return tarfile.open(fileobj=stream, mode="r|gz")
            case "":
                return tarfile.open(fileobj=stream, mode="r|")
            case other:
                raise SourceError(f"{deb.name}: compression {other!r} is not one that Debian's packages use here")
    raise SourceError(f"{deb.name} is not a Debian package: it has no data.tar")


def _data_tar(deb: Path) -> bytes:
    with deb.open("rb") as stream:
        return _unpack_data_tar(deb, ArFile(fileobj=stream))


def _unpack_data_tar(deb: Path, archive: ArFile) -> bytes:
    for member in archive.getmembers():
        if not member.name.startswith("data.tar"):
            continue
        packed = member.read()
        match member.name.removeprefix("data.tar"):
            case ".xz":
                unpacked = lzma.LZMADecompressor().decompress(packed, _MOST_UNPACKED)
            case ".gz":
                unpacked = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(_MOST_UNPACKED)
            case "":
                unpacked = packed
            case other:
                raise SourceError(f"{deb.name}: compression {other!r} is not one that Debian's packages use here")
        if len(unpacked) >= _MOST_UNPACKED:
            raise SourceError(f"{deb.name} unpacks to more than {_MOST_UNPACKED} bytes")
        return unpacked
    raise SourceError(f"{deb.name} is not a Debian package: it has no data.tar")


def _clean_path(path: str, deb: Path) -> str:
    clean = posixpath.normpath(path)
    if clean.startswith(("/", "..")):
        raise SourceError(f"{deb.name}: {path} points out of the package")
    top = clean.split("/", 1)[0]
    return f"usr/{clean}" if top in MERGED_FOLDERS else clean
