"""A git repository that no git wrote: loose objects, packs with both kinds of deltas, and a checkout."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MODES = {"file": "100644", "program": "100755", "link": "120000", "folder": "40000", "commit": "160000"}
_CODES = {"commit": 1, "tree": 2, "blob": 3}


@dataclass
class GitRepository:
    """A checkout at ``top``; ``git_dir`` is what git keeps about it."""

    top: Path
    algorithm: str = "sha1"

    def __post_init__(self) -> None:
        self.top.mkdir(parents=True, exist_ok=True)
        self.git_dir = self.top / ".git"
        (self.git_dir / "objects" / "pack").mkdir(parents=True)
        (self.git_dir / "refs" / "heads").mkdir(parents=True)
        (self.git_dir / "HEAD").write_text("ref: refs/heads/main\n")
        (self.git_dir / "config").write_text("[core]\n\tbare = false\n")

    def write(self, path: str, content: bytes = b"x", mode: int = 0o644) -> None:
        file = self.top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)

    def id_of(self, kind: str, content: bytes) -> str:
        return hashlib.new(self.algorithm, f"{kind} {len(content)}\0".encode() + content).hexdigest()

    def put(self, kind: str, content: bytes) -> str:
        """Store a loose object and return its id."""
        object_id = self.id_of(kind, content)
        file = self.git_dir / "objects" / object_id[:2] / object_id[2:]
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(zlib.compress(f"{kind} {len(content)}\0".encode() + content))
        return object_id

    def tree_of(self, folder: Path, submodules: dict[str, str] | None = None) -> bytes:
        """Return the tree of a folder as it is checked out; trees below it are stored."""
        entries = []
        for item in sorted(folder.iterdir(), key=lambda item: f"{item.name}{'/' if item.is_dir() else ''}"):
            path = item.relative_to(self.top).as_posix()
            if item.name == ".git":
                continue
            if path in (submodules or {}):
                kind, object_id = "commit", (submodules or {})[path]
            elif item.is_symlink():
                target = os.readlink(item)  # noqa: PTH115 - pathlib leaves out what it does not need, such as "./"
                kind, object_id = "link", self.id_of("blob", os.fsencode(target))
            elif item.is_dir():
                kind, object_id = "folder", self.put("tree", self.tree_of(item, submodules))
            else:
                kind = "program" if item.stat().st_mode & 0o100 else "file"
                object_id = self.id_of("blob", item.read_bytes())
            entries.append(f"{_MODES[kind]} {item.name}\0".encode() + bytes.fromhex(object_id))
        return b"".join(entries)

    def commit(self, submodules: dict[str, str] | None = None) -> str:
        """Commit all that is checked out, and return the id; blobs are not stored, as nobody should need them."""
        tree = self.put("tree", self.tree_of(self.top, submodules))
        commit = self.put("commit", f"tree {tree}\nauthor V <v@example.com> 0 +0000\n\nsubject\n".encode())
        (self.git_dir / "refs/heads/main").write_text(f"{commit}\n")
        return commit

    def pack(self, *entries: bytes, ids: list[str], offsets: list[int], name: str = "a" * 40) -> Path:
        """Write a pack of raw entries with its index; returns the pack."""
        folder = self.git_dir / "objects" / "pack"
        pack = folder / f"pack-{name}.pack"
        pack.write_bytes(b"PACK" + struct.pack(">II", 2, len(entries)) + b"".join(entries))
        pairs = sorted(zip(ids, offsets, strict=True))
        fanout = [sum(int(item[:2], 16) <= byte for item, _ in pairs) for byte in range(256)]
        index = b"\xfftOc" + struct.pack(">I256I", 2, *fanout) + b"".join(bytes.fromhex(item) for item, _ in pairs)
        index += b"\0" * 4 * len(pairs)
        large = [offset for _, offset in pairs if offset >= 2**31]
        for _, offset in pairs:
            index += struct.pack(">I", offset if offset < 2**31 else 2**31 + large.index(offset))
        (folder / f"pack-{name}.idx").write_bytes(index + b"".join(struct.pack(">Q", item) for item in large))
        return pack


def pack_entry(kind: str | int, content: bytes, *, before: bytes = b"", size: int | None = None) -> bytes:
    """Return an object, or a delta of one (6: ``before`` says how far back, 7: of which id), as it is in a pack."""
    code = _CODES[kind] if isinstance(kind, str) else kind
    rest = len(content) if size is None else size
    header = [(code << 4) | (rest & 15)]
    rest >>= 4
    while rest:
        header[-1] |= 0x80
        header.append(rest & 0x7F)
        rest >>= 7
    return bytes(header) + before + zlib.compress(content)


def distance(number: int) -> bytes:
    """Return how far back a base is, as a pack says it."""
    found = [number & 0x7F]
    while number := number >> 7:
        number -= 1
        found.insert(0, 0x80 | number & 0x7F)
    return bytes(found)


def delta(base: bytes, *steps: bytes, size: int) -> bytes:
    return _size(len(base)) + _size(size) + b"".join(steps)


def copy_step(start: int, length: int) -> bytes:
    """Return a step that takes a piece of the base."""
    values = start.to_bytes(4, "little") + length.to_bytes(3, "little")
    code = 0x80 | sum(1 << bit for bit, value in enumerate(values) if value)
    return bytes([code]) + bytes(value for value in values if value)


def insert_step(content: bytes) -> bytes:
    return bytes([len(content)]) + content


def _size(number: int) -> bytes:
    found = []
    while True:
        found.append(number & 0x7F | (0x80 if number >> 7 else 0))
        number >>= 7
        if not number:
            return bytes(found)
