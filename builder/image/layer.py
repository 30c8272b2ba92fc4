"""Reads single files out of an image layer that comes over the network, with bounds for everything. Touches nothing.

The layer is streamed: it is neither kept nor unpacked. What was found may be believed only when the whole layer has
its digest, so it is read to its end. Pure.
"""

from __future__ import annotations

import hashlib
import posixpath
from typing import IO, TYPE_CHECKING, cast

from builder.errors import FormatError, SourceError, SourceUnreachableError
from builder.image.archive import BROKEN, read_tar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_CHUNK = 256 * 1024
# The layers that are read hold a few files; a RHEL layer of 64 MiB unpacks to a fifth of this.
_MOST_UNPACKED = 1024**3
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


def read_layer_files(chunks: Iterator[bytes], wanted: Collection[str], *, digest: str, size: int) -> dict[str, bytes]:
    """Return wanted regular files of a layer, by path without leading slash.

    Args:
        chunks: the layer as it is served, packed.
        wanted: paths.
        digest: what it must have.
        size: bytes that it must have, packed.

    Raises:
        FormatError: it is no layer, holds paths out of its tree, or unpacks to more than it may.
        SourceUnreachableError: it ended too early.
        SourceError: it is another layer.
    """
    stream = _HashedStream(chunks)
    what = f"layer {digest}"
    try:
        found = _read_wanted(stream, wanted, what)
    except BROKEN as error:
        # A network that broke off looks like a damaged layer; which of the two it is, size and digest tell.
        stream.drain()
        _check_whole(stream, digest, size, what)
        raise FormatError(f"{what} cannot be read: {error}") from None
    stream.drain()
    _check_whole(stream, digest, size, what)
    return found


def _read_wanted(stream: _HashedStream, wanted: Collection[str], what: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for member, content in read_tar(cast("IO[bytes]", stream), most=_MOST_UNPACKED):
        path = posixpath.normpath(member.name.lstrip("/"))
        if path == ".." or path.startswith("../"):
            raise FormatError(f"{what}: {member.name[:200]!r} points out of the layer")
        if path not in wanted:
            continue
        if not member.isreg() or content.size > _LARGEST_FILE:
            raise FormatError(f"{what}: {path} is no plain file of at most {_LARGEST_FILE >> 20} MiB")
        found[path] = content.read_all()
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
        self._place = 0
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def read(self, size: int) -> bytes:
        while len(self._rest) - self._place < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._hash.update(chunk)
            self.size += len(chunk)
            self._rest, self._place = self._rest[self._place :] + chunk, 0
        data = self._rest[self._place : self._place + size]
        self._place += len(data)
        return data

    def drain(self) -> None:
        while self.read(_CHUNK):
            pass
