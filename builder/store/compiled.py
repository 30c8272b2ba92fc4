"""Results of compiles, kept so that new signatures, another base image or a lost image need no compile again.

A result is a tar file in the work folder whose name holds the key of the compile and the SHA-256 of the file: it
proves itself, and what a killed run leaves half-written has another name. It is read into memory, never unpacked.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import CellError, FormatError
from builder.host.places import file_digest, open_regular
from builder.image.archive import BROKEN, read_tar
from builder.store.result import CompileResult, File, Folder, Link, make_result, refuse
from builder.store.result_folder import Bounds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from builder.image.archive import Content
    from builder.store.result import ResultEntry

_BOUNDS = Bounds()
# For every entry a header, filled up, and another two blocks with a long name.
_LARGEST_FILE = _BOUNDS.size + _BOUNDS.entries * 4 * 512


class CompiledResults:
    """The kept results of a work folder, by compile key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keys(self) -> frozenset[str]:
        return frozenset(file.name.partition("-")[0] for file in self._folder.glob("*-*.tar"))

    def keep(self, key: str, result: CompileResult) -> None:
        """Keep a result under a key; replaces what was kept under it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=f".{key}.")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as archive:
            for path, entry in result.entries.items():
                content = entry.content if isinstance(entry, File) else b""
                archive.addfile(_describe(path, entry), io.BytesIO(content))
        target = self._folder / f"{key}-{file_digest(temporary)}.tar"
        self.drop(key)
        temporary.rename(target)

    def restore(self, key: str) -> CompileResult | None:
        """Return what is kept under a key; None if there is nothing.

        Raises:
            FormatError: the file is not the one that was written, or holds what no result may hold.
        """
        file = next(self._folder.glob(f"{key}-*.tar"), None)
        if file is None:
            return None
        again = "the cell is compiled again"
        try:
            with open_regular(file, most=_LARGEST_FILE, follow=False) as stream:
                _check_digest(stream, file.stem.partition("-")[2])
                return make_result(_read_entries(stream))
        except (CellError, FormatError) as error:
            raise FormatError(f"{file} {error.message}; {again}") from None
        except BROKEN as error:
            raise FormatError(f"{file} cannot be read: {error}; {again}") from None

    def drop(self, key: str) -> None:
        for file in self._folder.glob(f"{key}-*.tar"):
            file.unlink(missing_ok=True)  # who keeps the same result drops it, too


def _check_digest(stream: BufferedReader, digest: str) -> None:
    if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
        raise FormatError("was changed after it was written")
    stream.seek(0)


def _describe(path: str, entry: ResultEntry) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode = 0o755
    match entry:
        case Folder():
            member.type = tarfile.DIRTYPE
        case Link(target):
            member.type, member.linkname = tarfile.SYMTYPE, target
        case File(content, is_program):
            member.size, member.mode = len(content), 0o755 if is_program else 0o644
    return member


def _read_entries(stream: BufferedReader) -> Iterator[tuple[str, ResultEntry]]:
    size = 0
    members = read_tar(stream, most=_LARGEST_FILE, may_be_packed=False)
    for number, (member, content) in enumerate(members):
        size += member.size
        if number > _BOUNDS.entries or size > _BOUNDS.size:
            raise refuse("result-too-large", "it holds more than any result")
        path = member.name.removeprefix("./")
        if path != ".":  # the folder itself: older versions wrote it
            yield path, _read_entry(member, content)


def _read_entry(member: tarfile.TarInfo, content: Content) -> ResultEntry:
    if member.isdir():
        return Folder()
    if member.issym():
        return Link(member.linkname)
    if member.type != tarfile.REGTYPE:
        raise refuse("result-special", f"{member.name!r} is neither a file, a folder nor a link")
    return File(content.read_all(), is_program=bool(member.mode & 0o100))
