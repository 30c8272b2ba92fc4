"""Package databases as rpm writes them: an rpmdb.sqlite whose headers have the fields that are looked at."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass

_TEXT, _NUMBERS, _TEXTS = 6, 4, 8


@dataclass(frozen=True, kw_only=True)
class Rpm:
    """A package; files are paths with their flags."""

    name: str
    version: str = "1.0"
    release: str = "1.el9"
    arch: str = "x86_64"
    vendor: str = "Red Hat, Inc."
    installed: int = 1_700_000_000
    files: tuple[tuple[str, int], ...] = ()


def rpm_database(*packages: str | Rpm, damage: bytes = b"") -> bytes:
    """Return a database as rpm leaves it: with the word for a write-ahead log, which is gone."""
    blobs = [rpm_header(Rpm(name=item) if isinstance(item, str) else item) for item in packages]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
        connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in [*blobs, damage] if blob])
        connection.commit()
        database = connection.serialize()
    return database[:18] + b"\2\2" + database[20:]


def rpm_header(package: Rpm) -> bytes:
    """Return a header, rpm's lib/header.c: counts, an entry for each field, and the data that they lie in."""
    folders = sorted({path.rpartition("/")[0] + "/" for path, _ in package.files})
    names = [path.rpartition("/")[2] for path, _ in package.files]
    numbers = [folders.index(path.rpartition("/")[0] + "/") for path, _ in package.files]
    fields: list[tuple[int, int, int, bytes]] = [(63, 7, 16, b"\0" * 16)]
    for tag, text in ((1000, package.name), (1001, package.version), (1002, package.release)):
        fields.append((tag, _TEXT, 1, text.encode() + b"\0"))
    fields.append((1008, _NUMBERS, 1, struct.pack(">I", package.installed)))
    for tag, text in ((1011, package.vendor), (1022, package.arch)):
        fields.append((tag, _TEXT, 1, text.encode() + b"\0"))
    if package.files:
        flags = [flag for _, flag in package.files]
        fields.append((1037, _NUMBERS, len(flags), struct.pack(f">{len(flags)}I", *flags)))
        fields.append((1116, _NUMBERS, len(numbers), struct.pack(f">{len(numbers)}I", *numbers)))
        fields.append((1117, _TEXTS, len(names), b"".join(name.encode() + b"\0" for name in names)))
        fields.append((1118, _TEXTS, len(folders), b"".join(name.encode() + b"\0" for name in folders)))
    return make_header(fields)


def make_header(fields: list[tuple[int, int, int, bytes]]) -> bytes:
    """Return a header of these fields: tag, type, count, data."""
    entries, data = b"", b""
    for tag, kind, count, content in fields:
        data += b"\0" * (-len(data) % 4)
        entries += struct.pack(">IIII", tag, kind, len(data), count)
        data += content
    return struct.pack(">II", len(fields), len(data)) + entries + data
