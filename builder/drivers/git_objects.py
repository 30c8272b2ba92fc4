"""Reads objects of a git repository out of its files: loose ones and packs, within bounds, each against its own id.

Not by git: its documentation says (git(1), SECURITY) that it may run what the settings of a repository name, so it is
not for repositories of strangers; and a machine that builds needs none. Only commits and trees are read, no file's
content. Formats: gitformat-pack(5).
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from bisect import bisect_left
from typing import TYPE_CHECKING

from builder.drivers.git_formats import apply_delta
from builder.errors import FormatError
from builder.host.places import open_inside

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

_LARGEST = 64 * 1024**2
_MOST_READ = 1024**3
_MOST_PACKS = 2000
_LOOK_UP, _UNPACK, _STEP = 2048, 1024, 16
"""What looking for an object in one index counts as, unpacking anything, and each byte of a delta; all in bytes."""
_LARGEST_PACK = 2**40
_DEEPEST = 4095  # what git itself writes at most (pack.depth)
_MAGIC = b"\xfftOc\0\0\0\x02"
_HEADER = 8
_SHA256_DIGITS = 64
_FANOUT = 1024
_CHUNK = 8192  # most objects are small
_COMMIT, _TREE, _OFS_DELTA, _REF_DELTA = 1, 2, 6, 7
_NAMES = {_COMMIT: "commit", _TREE: "tree"}
_PACK = re.compile(r"pack-[0-9a-f]{40}(?:[0-9a-f]{24})?\.idx")


class ObjectStore:
    """The objects of a repository. ``folder`` is its folder ``objects``; what alternates name is not looked at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packs: list[str] | None = None
        self._room = _MOST_READ

    def read(self, object_id: str, kind: str) -> bytes:
        """Return the content of a commit or a tree, which has that id.

        Raises:
            FormatError: it is not there, is something else, or is damaged.
        """
        content = self._read_loose(object_id, kind)
        if content is None:
            content = self._read_packed(object_id, kind)
        if content is None:
            raise FormatError(f"its repository does not have the {kind} {object_id}")
        header = f"{kind} {len(content)}\0".encode()
        if new_hash(object_id, header + content) != object_id:
            raise FormatError(f"the {kind} {object_id} of its repository is damaged")
        return content

    def _spend(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise FormatError(f"more than {_MOST_READ >> 20} MiB of its repository would have to be read")

    def _read_loose(self, object_id: str, kind: str) -> bytes | None:
        try:
            stream = open_inside(self._folder, f"{object_id[:2]}/{object_id[2:]}", most=_LARGEST)
        except FormatError:
            return None
        with stream:
            content = self._inflate(stream, _LARGEST)
        header, _, body = content.partition(b"\0")
        if not header.startswith(f"{kind} ".encode()):
            raise FormatError(f"{object_id} of its repository is no {kind}")
        return body

    def _inflate(self, stream: BufferedReader, most: int) -> bytes:
        reader = zlib.decompressobj()
        pieces: list[bytes] = []
        size = 0
        try:
            while not reader.eof and (chunk := reader.unconsumed_tail or stream.read(_CHUNK)):
                pieces.append(reader.decompress(chunk, most - size + 1))
                size += len(pieces[-1])
                if size > most:
                    raise FormatError("an object of its repository is larger than it says")
        except zlib.error as error:
            raise FormatError(f"an object of its repository cannot be unpacked: {error}") from None
        self._spend(size + _UNPACK)
        if not reader.eof:
            raise FormatError("an object of its repository is cut off")
        return b"".join(pieces)

    def _read_packed(self, object_id: str, kind: str) -> bytes | None:
        for name in self._list_packs():
            with open_inside(self._folder, f"pack/{name}", most=_LARGEST_PACK) as index:
                offset = self._find_offset(index, bytes.fromhex(object_id))
                if offset is not None:
                    with open_inside(self._folder, f"pack/{name.removesuffix('idx')}pack", most=_LARGEST_PACK) as pack:
                        return self._read_at(pack, index, offset, kind, len(object_id) // 2)
        return None

    def _list_packs(self) -> list[str]:
        if self._packs is None:
            try:
                names = os.listdir(self._folder / "pack")  # noqa: PTH208 - names alone, nothing is opened by them
            except OSError:
                names = []
            self._packs = sorted(name for name in names if _PACK.fullmatch(name))[:_MOST_PACKS]
        return self._packs

    def _read_at(self, pack: BufferedReader, index: BufferedReader, offset: int, kind: str, id_size: int) -> bytes:
        """Return an object of a pack, with all deltas that it is made by; a pack on disk holds their bases, too."""
        deltas: list[bytes] = []
        held = 0
        for _ in range(_DEEPEST):
            pack.seek(offset)
            code, size = _read_header(pack)
            held += size
            if held > _LARGEST:
                raise FormatError("an object of its repository is larger than it may be, or made of more")
            if _NAMES.get(code) == kind:
                content = self._inflate(pack, size)
                for delta in reversed(deltas):
                    content = apply_delta(content, delta)
                    self._spend(len(content) + _STEP * len(delta))
                return content
            if code == _OFS_DELTA:
                base = offset - _read_distance(pack)
                deltas.append(self._inflate(pack, size))
                if not 0 < base < offset:
                    raise FormatError("a pack of its repository is damaged")
                offset = base
            elif code == _REF_DELTA:
                base_id = pack.read(id_size)
                deltas.append(self._inflate(pack, size))
                found = self._find_offset(index, base_id)
                if found is None:
                    raise FormatError("a pack of its repository names an object that is not there")
                offset = found
            else:
                raise FormatError(f"an object of its repository is no {kind}")
        raise FormatError("an object of its repository is made of too many others")

    def _find_offset(self, index: BufferedReader, wanted: bytes) -> int | None:
        """Return where an object is in the pack of an index; None if it is not in it."""
        self._spend(_LOOK_UP)
        index.seek(0)
        head = index.read(_HEADER + _FANOUT)
        if head[:_HEADER] != _MAGIC or len(head) != _HEADER + _FANOUT:
            raise FormatError("an index of its repository is of no version that is known")
        fanout = struct.unpack(">256I", head[_HEADER:])
        first, last, count = fanout[wanted[0] - 1] if wanted[0] else 0, fanout[wanted[0]], fanout[255]
        if not first <= last <= count:
            raise FormatError("an index of its repository is damaged")
        size = len(wanted)

        def read_id(number: int) -> bytes:
            index.seek(_HEADER + _FANOUT + number * size)
            return index.read(size)

        number = bisect_left(range(last), wanted, first, key=read_id)
        if number == last or read_id(number) != wanted:
            return None
        tables = _HEADER + _FANOUT + count * (size + 4)
        offset = _read_number(index, tables + 4 * number, 4)
        if offset & 0x80000000:
            offset = _read_number(index, tables + 4 * count + 8 * (offset & 0x7FFFFFFF), 8)
        return offset


def new_hash(like: str, content: bytes) -> str:
    """Return the id that git gives to a content (with its header), by the algorithm of another id."""
    return open_hash(like, content).hexdigest()


def open_hash(like: str, content: bytes) -> hashlib._Hash:
    """Begin to hash a content by the algorithm of an id: SHA-1, or SHA-256 where a repository was made so."""
    return hashlib.new("sha256" if len(like) == _SHA256_DIGITS else "sha1", content, usedforsecurity=False)


def _read_number(stream: BufferedReader, place: int, size: int) -> int:
    stream.seek(place)
    data = stream.read(size)
    if len(data) != size:
        raise FormatError("an index of its repository is cut off")
    number = int.from_bytes(data, "big")
    if number >= _LARGEST_PACK and size == 8:  # noqa: PLR2004 - bytes of a large offset
        raise FormatError("an index of its repository is damaged")
    return number


def _read_byte(stream: BufferedReader) -> int:
    data = stream.read(1)
    if not data:
        raise FormatError("a pack of its repository is cut off")
    return data[0]


def _read_header(pack: BufferedReader) -> tuple[int, int]:
    """Return kind and size of the object that begins here."""
    byte = _read_byte(pack)
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 0x80 and shift < 63:  # noqa: PLR2004 - no size has more bits
        byte = _read_byte(pack)
        size |= (byte & 0x7F) << shift
        shift += 7
    return kind, size


def _read_distance(pack: BufferedReader) -> int:
    """Return how far before a delta its base is."""
    byte = _read_byte(pack)
    distance = byte & 0x7F
    for _ in range(9):
        if not byte & 0x80:
            return distance
        byte = _read_byte(pack)
        distance = (distance + 1) << 7 | byte & 0x7F
    raise FormatError("a pack of its repository is damaged")
