"""Reads single files out of an image layer that comes over the network, with bounds for everything. Touches nothing.

The layer is streamed: it is neither kept nor unpacked. What was found may be believed only when the whole layer has
its digest, so it is read to its end.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import sys
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, cast

from builder.errors import FormatError, SourceError, SourceUnreachableError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_CHUNK = 256 * 1024
# The layers that are read hold a few files; a RHEL layer of 64 MiB unpacks to a fifth of this.
_MOST_UNPACKED = 1024**3
_MOST_ENTRIES = 1_000_000
_LARGEST_FILE = 64 * 1024**2
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


def whiteouts_of(path: str) -> frozenset[str]:
    """Return the names whose presence in a layer means that ``path`` of the layers below is gone (OCI image-spec)."""
    names: set[str] = set()
    while path:
        folder, _, name = path.rpartition("/")
        lead = f"{folder}/" if folder else ""
        names |= {f"{lead}{_WHITEOUT}{name}", f"{lead}{_OPAQUE}"}
        path = folder
    return frozenset(names)


def read_layer_files(
    chunks: Iterator[bytes], wanted: Collection[str], *, digest: str, size: int, media_type: str
) -> dict[str, bytes]:
    """Return wanted regular files of a layer, by path without leading slash.

    Args:
        chunks: the layer as it is served, packed.
        wanted: paths.
        digest: what it must have.
        size: bytes that it must have, packed.
        media_type: tells how it is packed.

    Raises:
        FormatError: it is no layer, holds paths out of its tree, or unpacks to more than it may.
        SourceUnreachableError: it ended too early.
        SourceError: it is another layer.
    """
    stream = _HashedStream(chunks)
    what = f"layer {digest}"
    try:
        found = _read_wanted(stream, wanted, media_type, what)
    except (tarfile.TarError, EOFError, OSError, zlib.error, zstd.ZstdError, ValueError) as error:
        # A network that broke off looks like a damaged layer; which of the two it is, size and digest tell.
        stream.drain()
        _check_whole(stream, digest, size, what)
        raise FormatError(f"{what} cannot be read: {error}") from None
    stream.drain()
    _check_whole(stream, digest, size, what)
    return found


def _read_wanted(stream: _HashedStream, wanted: Collection[str], media_type: str, what: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    bounded = cast("IO[bytes]", _Bounded(_unpack(stream, media_type), _MOST_UNPACKED, what))
    with tarfile.open(fileobj=bounded, mode="r|", errorlevel=2) as archive:
        for number, member in enumerate(archive):
            path = posixpath.normpath(member.name.lstrip("/"))
            if path == ".." or path.startswith("../") or number > _MOST_ENTRIES:
                raise FormatError(f"{what}: {member.name[:200]!r} points out of the layer, or there are too many files")
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep a description of every file
            if path not in wanted:
                continue
            if not member.isreg() or member.size > _LARGEST_FILE:
                raise FormatError(f"{what}: {path} is no plain file of at most {_LARGEST_FILE >> 20} MiB")
            content = archive.extractfile(member)
            found[path] = content.read() if content else b""
    return found


def _check_whole(stream: _HashedStream, digest: str, size: int, what: str) -> None:
    if stream.size < size:
        raise SourceUnreachableError(f"{what} ended after {stream.size} of {size} bytes")
    if stream.digest != digest:
        raise SourceError(f"{what} is damaged: its content has the digest {stream.digest}")


class _HashedStream:
    """A file made of chunks that come over the network, with the digest of all that went through."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self._rest = b""
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._hash.update(chunk)
            self.size += len(chunk)
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def drain(self) -> None:
        while self.read(_CHUNK):
            pass


class _Bounded:
    """Refuses to give more than a number of bytes: what is packed may unpack to anything."""

    def __init__(self, stream: IO[bytes], most: int, what: str) -> None:
        self._stream = stream
        self._left = most
        self._what = what

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise FormatError(f"{self._what} unpacks to more than any layer should")
        return data


def _unpack(stream: _HashedStream, media_type: str) -> IO[bytes]:
    raw = cast("IO[bytes]", stream)
    if media_type.endswith("zstd"):
        return cast("IO[bytes]", zstd.ZstdFile(raw))
    if media_type.endswith(("gzip", "tar.gzip")):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    return raw
