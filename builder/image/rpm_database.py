"""Packages of an rpmdb.sqlite, and which files they own; the format of its headers is that of rpm's lib/header.c. Pure.

The database is hostile: only the plain table ``Packages`` is read, so no view, trigger or function in it runs.
"""

from __future__ import annotations

import sqlite3
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LARGEST_HEADER = 64 * 1024**2
# rpm's include/rpm/rpmtag.h; types are those of lib/header.c: 4 is a list of numbers, 6, 8 and 9 are texts.
_NAME, _VERSION, _RELEASE, _INSTALLED, _VENDOR, _ARCH = 1000, 1001, 1002, 1008, 1011, 1022
_FLAGS, _FOLDER_NUMBERS, _BASE_NAMES, _FOLDERS = 1037, 1116, 1117, 1118
_NUMBERS, _TEXTS = 4, frozenset({6, 8, 9})
_TAGS = {
    _NAME: _TEXTS, _VERSION: _TEXTS, _RELEASE: _TEXTS, _VENDOR: _TEXTS, _ARCH: _TEXTS, _BASE_NAMES: _TEXTS,
    _FOLDERS: _TEXTS, _INSTALLED: {_NUMBERS}, _FLAGS: {_NUMBERS}, _FOLDER_NUMBERS: {_NUMBERS},
}  # fmt: skip
_ENTRY = struct.Struct(">IIII")
_LONGEST_TEXT = 4096
_MOST_VALUES = 250_000


@dataclass(frozen=True, slots=True)
class RpmFile:
    """A file of a package: its path from ``/``, and what kind of file it is (``RPMFILE_*`` of rpm's rpmfiles.h)."""

    path: str
    flags: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RpmPackage:
    """A package; ``installed`` is when, in seconds since 1970. ``files`` are empty where the header names none."""

    name: str
    version: str = ""
    release: str = ""
    arch: str = ""
    vendor: str = ""
    installed: int = 0
    files: tuple[RpmFile, ...] = ()


def read_rpm_packages(database: bytes) -> list[RpmPackage]:
    """Return the packages of an rpmdb.sqlite.

    Raises:
        FormatError: not a database of that form, or a header in it is damaged.
    """
    connection = sqlite3.connect(":memory:")
    steps = iter(range(len(database) // 8 + 10_000))
    packages, left = [], len(database)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(len(database) + 1, _LARGEST_HEADER))
        connection.deserialize(_without_log(database))
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.set_authorizer(_allow_packages)
        connection.set_progress_handler(lambda: next(steps, None) is None, 100)
        for (blob,) in connection.execute("SELECT blob FROM main.Packages"):
            packages.append(_read_package(blob))
            # Pages that belong to several rows would make a small file endless.
            left -= len(blob)
            if left < 0:
                raise FormatError("its rows hold more than the whole of it")
    except (sqlite3.Error, MemoryError, OverflowError) as error:
        raise FormatError(f"it is no database of RPM: {str(error) or type(error).__name__}") from None
    finally:
        connection.close()
    return packages


def _without_log(database: bytes) -> bytes:
    """Return a database that does not say that it has a write-ahead log: SQLite opens none in memory that does.

    rpm always leaves that word, also where its log is done (sqlite.org/fileformat2.html, 1.3.3: offsets 18 and 19).
    """
    return database[:18] + b"\1\1" + database[20:] if database[18:20] == b"\2\2" else database


def _allow_packages(action: int, name: str | None, column: str | None, _: str | None, inside: str | None) -> int:
    """Tell SQLite what a query may do: read that one column, and not from within a view or trigger."""
    is_read = action == sqlite3.SQLITE_READ and (name, column) == ("Packages", "blob")
    return sqlite3.SQLITE_OK if not inside and (is_read or action == sqlite3.SQLITE_SELECT) else sqlite3.SQLITE_DENY


def _read_package(blob: object) -> RpmPackage:
    found = _read_header(blob)
    if not _text(found, _NAME):
        raise FormatError("a package header of it is damaged")
    numbers = found.get(_INSTALLED) or [0]
    return RpmPackage(
        name=_text(found, _NAME),
        version=_text(found, _VERSION),
        release=_text(found, _RELEASE),
        arch=_text(found, _ARCH),
        vendor=_text(found, _VENDOR),
        installed=int(numbers[0]),
        files=tuple(_list_files(found)),
    )


def _text(found: Mapping[int, list[str] | list[int]], tag: int) -> str:
    values = found.get(tag) or [""]
    return str(values[0])


def _list_files(found: Mapping[int, list[str] | list[int]]) -> Iterator[RpmFile]:
    """Yield a package's files: base names, each with the number of its folder, and flags where there are some."""
    names, numbers = found.get(_BASE_NAMES, []), found.get(_FOLDER_NUMBERS, [])
    folders, flags = found.get(_FOLDERS, []), found.get(_FLAGS, [])
    if len(names) != len(numbers) or (flags and len(flags) != len(names)):
        raise FormatError("a package header of it is damaged: its lists of files differ in length")
    left = _LARGEST_HEADER  # every file may name the longest of the folders
    for place, (name, number) in enumerate(zip(names, numbers, strict=True)):
        if not isinstance(number, int) or number >= len(folders):
            raise FormatError("a package header of it is damaged: a file of it is in no folder")
        left -= len(str(folders[number]))
        if left < 0:
            raise FormatError("a package header of it is damaged: the paths of its files have no end")
        yield RpmFile(path=f"{folders[number]}{name}", flags=int(flags[place]) if flags else 0)


def _read_header(blob: object) -> dict[int, list[str] | list[int]]:
    """Return the values of a header by tag, of the tags that are looked at."""
    if not isinstance(blob, bytes) or len(blob) < 8:  # noqa: PLR2004 - two counts
        raise FormatError("a package header of it is damaged")
    entries, _ = struct.unpack_from(">II", blob)
    if entries > (len(blob) - 8) // _ENTRY.size:
        raise FormatError("a package header of it is damaged")
    data = 8 + _ENTRY.size * entries
    found: dict[int, list[str] | list[int]] = {}
    for number in range(entries):
        tag, kind, offset, count = _ENTRY.unpack_from(blob, 8 + _ENTRY.size * number)
        if kind not in _TAGS.get(tag, ()):
            continue
        # Each value takes at least a byte, so a count that is larger than the rest is a lie.
        if tag in found or count > min(_MOST_VALUES, len(blob) - data - offset):
            raise FormatError("a package header of it is damaged")
        found[tag] = _numbers(blob, data + offset, count) if kind == _NUMBERS else _texts(blob, data + offset, count)
    return found


def _numbers(blob: bytes, place: int, count: int) -> list[int]:
    if place + 4 * count > len(blob):
        raise FormatError("a package header of it is damaged")
    return [*struct.unpack_from(f">{count}I", blob, place)]


def _texts(blob: bytes, place: int, count: int) -> list[str]:
    found = []
    for _ in range(count):
        end = blob.find(b"\0", place)
        if end < 0 or end - place > _LONGEST_TEXT:
            raise FormatError("a package header of it is damaged")
        found.append(blob[place:end].decode(errors="backslashreplace"))
        place = end + 1
    return found
