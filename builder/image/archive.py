"""Reads tar archives of others as a stream, within bounds for everything. Touches nothing.

Python's tarfile believes what headers say: it reads extended headers of any length (0.4 MB of a layer became 1.2 GiB),
fills the holes of sparse files, and before 3.11.10 needs a quadratic time for pax headers. So only the headers' own 512
bytes are left to it. The formats: POSIX.1-2017 pax, and GNU tar's long names ("Basic Tar Format"). Pure.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import tarfile
import zlib
from typing import TYPE_CHECKING, cast

from builder.compression import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_BLOCK = 512
_CHUNK = 256 * 1024
_MOST_MEMBERS = 1_000_000
_LONGEST_NAME = 4096  # PATH_MAX of Linux
_MOST_NAMES = 64 * 1024**2
_LONGEST_EXTENSION = 1024**2
_MOST_HEADERS = 16  # of one file
# Layers and packages unpack to three or five times their size; bombs to a thousand times.
_RATIO = 100
_ALWAYS = 64 * 1024**2
_MOST_MEMORY = 256 * 1024**2
_WINDOW_LOG = 27
_XZ, _ZSTD, _GZIP = b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
# pax records that change what a member is; in a global header Python heeds them, and Go's archive/tar does not.
_RENAMING = frozenset({"path", "linkpath", "size"})
XATTR = "SCHILY.xattr."
_LONG = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_PAX = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})


class ArchiveError(ValueError):
    """What an archive may not be; the end of a sentence about it."""


# Everything that reading an archive can raise.
BROKEN = (
    tarfile.TarError, OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError, zstd.ZstdError,
)  # fmt: skip


def read_tar(
    stream: IO[bytes], *, most: int, may_be_packed: bool = True, told: int = 0
) -> Iterator[tuple[tarfile.TarInfo, Content]]:
    """Yield the members of an archive with their contents, which can be read until the next member is asked for.

    Names and link targets are those of the extended headers; of extended attributes only the names are told, in
    ``pax_headers``, and all else is passed over. Compression is told by the first bytes.

    Args:
        stream: the archive; it is read forwards only, and not always to its end.
        most: bytes that it may unpack to.
        may_be_packed: whether it may be compressed.
        told: bytes that it unpacks to, as somebody who is believed said before: that much is no bomb, however packed.

    Raises:
        ArchiveError: it is none, is cut off, or holds or unpacks to what no archive should.
        Exception: other errors of ``BROKEN``, also when a content is read.
    """
    packed = _Counted(stream)
    unpacked = _Bounded(_unpack(packed) if may_be_packed else cast("IO[bytes]", packed), packed, most, told)
    extensions: dict[str, str] = {}
    names = headers = 0
    for number in range(_MOST_MEMBERS):
        header = unpacked.read(_BLOCK)
        if not header and not number:
            raise ArchiveError("it is empty")
        if not header.rstrip(b"\0"):
            if headers:
                raise ArchiveError("it ends in the middle of a file's headers")
            return
        member = tarfile.TarInfo.frombuf(header, "utf-8", "backslashreplace")
        content = Content(unpacked, _checked_size(member, extensions))
        if (extension := _read_extension(member, content)) is not None:
            extensions |= extension
            headers += 1
            if headers > _MOST_HEADERS:
                raise ArchiveError("it holds extended headers of extended headers")
        else:
            member.size = content.size
            member.name = extensions.get("path", member.name).rstrip("/")
            member.linkname = extensions.get("linkpath", member.linkname)
            member.pax_headers = {key: value for key, value in extensions.items() if key.startswith(XATTR)}
            names += len(member.name) + len(member.linkname)
            if names > _MOST_NAMES:
                raise ArchiveError(f"the names in it have more than {_MOST_NAMES >> 20} MiB")
            extensions, headers = {}, 0
            yield member, content
        content.skip()
    raise ArchiveError(f"it holds more than {_MOST_MEMBERS} files")


def hash_unpacked(stream: IO[bytes], *, most: int) -> str:
    """Return the hexadecimal SHA-256 of what a file unpacks to; compression is told by the first bytes.

    Args:
        stream: the file.
        most: bytes that it may unpack to.

    Raises:
        ArchiveError: it unpacks to more than it should.
        Exception: other errors of ``BROKEN``.
    """
    packed = _Counted(stream)
    unpacked = _Bounded(_unpack(packed), packed, most)
    hasher = hashlib.sha256()
    while chunk := unpacked.read(_CHUNK):
        hasher.update(chunk)
    return hasher.hexdigest()


def _checked_size(member: tarfile.TarInfo, extensions: dict[str, str]) -> int:
    size = member.size
    if (text := extensions.get("size")) is not None and member.isreg():
        if not text.isdecimal() or len(text) > 18:  # noqa: PLR2004 - digits of 2**63
            raise ArchiveError(f"a file in it claims {text[:40]!r} bytes")
        size = int(text)
    if size < 0:
        raise ArchiveError("a file in it claims less than no bytes")
    if member.type == tarfile.GNUTYPE_SPARSE:
        raise ArchiveError("it holds a sparse file")
    has_content = member.isreg() or _is_extension(member) or member.type not in tarfile.SUPPORTED_TYPES
    return size if has_content else 0


def _is_extension(member: tarfile.TarInfo) -> bool:
    return member.type in _LONG or member.type in _PAX or member.type == tarfile.XGLTYPE


def _read_extension(member: tarfile.TarInfo, content: Content) -> dict[str, str] | None:
    """Return what an extended header says of the next member; None where it is none."""
    if not _is_extension(member):
        return None
    if content.size > _LONGEST_EXTENSION:
        raise ArchiveError(f"an extended header in it has {content.size} bytes")
    data = content.read_all()
    if member.type in _LONG:
        return {_LONG[member.type]: _text(data.partition(b"\0")[0])}
    records = dict(_read_records(data))
    if member.type != tarfile.XGLTYPE:
        return records
    if renaming := records.keys() & _RENAMING:
        raise ArchiveError(f"it sets {min(renaming)} for all files, which other readers pass over")
    return {}


def _read_records(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the records of a pax header that matter here: ``LENGTH KEY=VALUE`` and the end of a line."""
    start = 0
    while start < len(data):
        space = data.find(b" ", start, start + 8)
        length = data[start:space] if space > 0 else b""
        if not length.isdigit() or not space + 1 < start + int(length) <= len(data):
            raise ArchiveError("it holds a damaged pax header")
        key, _, value = data[space + 1 : start + int(length) - 1].partition(b"=")
        if key.startswith(b"GNU.sparse."):
            raise ArchiveError("it holds a sparse file")
        name = key.decode(errors="backslashreplace")
        if name in _RENAMING:
            yield name, _text(value)
        elif name.startswith(XATTR):
            yield name, ""
        start += int(length)


def _text(raw: bytes) -> str:
    if len(raw) > _LONGEST_NAME:
        raise ArchiveError(f"a name in it has {len(raw)} bytes")
    return raw.decode(errors="backslashreplace")


class Content:
    """What a member holds, as a stream that ends where the member does."""

    def __init__(self, stream: _Bounded, size: int) -> None:
        self._stream = stream
        self._left = size
        self.size = size

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; fewer only at the end.

        Raises:
            ArchiveError: the archive is cut off. Else as ``read_tar``.
        """
        wanted = min(size, self._left)
        data = self._stream.read(wanted)
        if len(data) < wanted:
            raise ArchiveError("it is cut off")
        self._left -= wanted
        return data

    def read_all(self) -> bytes:
        """Return all that is left; the caller has looked at ``size``."""
        return self.read(self._left)

    def skip(self) -> None:
        """Read on to the next member."""
        while self.read(_CHUNK):
            pass
        self._stream.read(-self.size % _BLOCK)


class _Counted:
    """Counts what is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._first = b""
        self.count = 0

    def peek(self, size: int) -> bytes:
        self._first = self._stream.read(size)
        return self._first

    def read(self, size: int = -1) -> bytes:
        data, self._first = self._first, b""
        if size < 0 or size > len(data):
            data += self._stream.read(size - len(data) if size >= 0 else -1)
        else:
            data, self._first = data[:size], data[size:]
        self.count += len(data)
        return data


class _Bounded:
    """Gives whole pieces, and refuses to give more than there may be: what is packed may unpack to anything."""

    def __init__(self, stream: IO[bytes], packed: _Counted, most: int, told: int = 0) -> None:
        self._always = _ALWAYS + told
        self._stream = stream
        self._packed = packed
        self._most = most
        self._count = 0

    def read(self, size: int) -> bytes:
        pieces = []
        while size > 0 and (piece := self._stream.read(min(size, _CHUNK))):
            pieces.append(piece)
            size -= len(piece)
            self._count += len(piece)
            if self._count > min(self._most, self._always + _RATIO * self._packed.count):
                raise ArchiveError(f"it unpacks to more than it should: {self._packed.count} bytes to {self._count}")
        return b"".join(pieces)


def _unpack(packed: _Counted) -> IO[bytes]:
    magic = packed.peek(len(_XZ))
    raw = cast("IO[bytes]", packed)
    if magic.startswith(_GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if magic.startswith(_ZSTD):
        return cast("IO[bytes]", zstd.ZstdFile(raw, options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}))
    return cast("IO[bytes]", _Xz(raw)) if magic == _XZ else raw


class _Xz:
    """Unpacks xz with a bound for its memory, which ``lzma.open`` does not have."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._reader = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)

    def read(self, size: int) -> bytes:
        while not self._reader.eof:
            packed = self._stream.read(_CHUNK) if self._reader.needs_input else b""
            if not packed and self._reader.needs_input:
                raise ArchiveError("it is cut off")
            if data := self._reader.decompress(packed, size):
                return data
        return b""
