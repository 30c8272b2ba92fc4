"""What compiles left to be used by later ones, in lanes: who writes to a lane and who reads from it run the same code.

A lane is keyed by all that a driver brings into its compile (source, Containerfile, recipe), by its toolchain, and by
the program of the cache, but not by the kernel. So what a hostile driver leaves reaches nobody but itself, and it could
have left the same in its modules. What is not trusted has a folder of its own, and may read another's.

A compile gets a copy, and what it leaves is taken over as data: named and bounded, with the SHA-256 of each entry in
the lane's list, which no compile ever sees. An entry that is not what the list says is found before the next compile,
is not used, and is removed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from builder.errors import CellError, FormatError
from builder.foreign import Parsed, parse_json
from builder.host.locks import alone
from builder.host.places import open_inside, open_regular, replace_file
from builder.store.cached_compiler import (
    STATISTICS_FILE,
    TAG_FILE,
    CacheUse,
    check_entry,
    check_entry_name,
    read_statistics,
)
from builder.store.result_folder import Bounds, read_result, remove_folder
from builder.writing import emit_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from builder.store.result import CompileResult

_LIST_FILE = "entries.json"
_FORMAT: Literal[1] = 1
_LANE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LARGEST_LIST = 64 * 1024**2
_LARGEST_STATISTICS = 16 * 1024**2
_LARGEST_ENTRY = 64 * 1024**2
# What one compile may leave: a driver of 2,000 files leaves 4,000 entries.
_BOUNDS = Bounds(entries=50_000, size=256 * 1024**2)
# A copy that was read has a later time than this.
_UNREAD_S = 1
_Name = Annotated[str, AfterValidator(check_entry_name)]


class _Entry(Parsed):
    """An entry as it was taken over; ``used`` is when one was last read or written, in seconds since 1970."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, le=_LARGEST_ENTRY)]
    used: Annotated[int, Field(ge=0)] = 0


class _List(Parsed):
    format: Literal[1] = _FORMAT
    driver: str = ""
    entries: dict[_Name, _Entry] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSize:
    """A lane as it is on disk: key, driver, bytes of its entries, and when one was last used."""

    key: str
    driver: str
    size: int
    used: int


def read_list(content: bytes) -> _List:
    """Read a lane's list of entries.

    Raises:
        FormatError: it is none.
    """
    return parse_json(_List, content, "list of a compile cache")


@dataclass(slots=True, kw_only=True)
class Lent:
    """What a compile was lent: the names of the copies in ``folder``, and how many entries were damaged."""

    folder: Path
    names: set[str] = field(default_factory=set)
    damaged: int = 0


class CompileCache:
    """Lanes below a folder, which may hold ``most`` bytes in all; safe to use from several threads and processes.

    What lanes of ``lender`` hold is lent, too, and never written.
    """

    def __init__(self, folder: Path, *, most: int, lender: Path | None = None) -> None:
        self._folder = folder
        self._lender = lender
        self.most = most

    def lane(self, key: str, driver: str) -> Lane:
        own = _Place(self._folder / key, driver)
        return Lane(own, _Place(self._lender / key, driver) if self._lender else None, self.most)

    def sizes(self) -> list[LaneSize]:
        """Return all lanes, those first that were not used for longest."""
        found = [_Place(folder, "").measure() for folder in self._lanes()]
        return sorted(found, key=lambda lane: (lane.used, lane.key))

    def trim(self) -> list[LaneSize]:
        """Remove the lanes that were not used for longest until the rest is within bounds; returns what was removed.

        What cannot be removed stays, and the next ones go.
        """
        lanes = self.sizes()
        left = sum(lane.size for lane in lanes)
        gone = []
        for lane in lanes:
            if left <= self.most:
                break
            try:
                self.drop(lane.key)
            except OSError:  # a volume that is read-only, or so full that it has no room for a lock
                continue
            left -= lane.size
            gone.append(lane)
        return gone

    def drop(self, key: str) -> None:
        """Remove a lane; a compile that was lent its entries goes on with its copy."""
        _Place(self._folder / key, "").drop()

    def _lanes(self) -> Iterator[Path]:
        if self._folder.is_dir():
            yield from (entry for entry in self._folder.iterdir() if _LANE.fullmatch(entry.name) and entry.is_dir())


class Lane:
    """One lane, as one compile uses it: ``lend`` before it, ``take`` after it."""

    def __init__(self, own: _Place, lender: _Place | None, most: int) -> None:
        self._own = own
        self._lender = lender
        self._most = most

    def lend(self, folder: Path) -> Lent:
        """Copy all entries that are what they were when they were taken over into a new folder's sub-folders."""
        folder.mkdir(exist_ok=True)
        lent = Lent(folder=folder)
        for place in filter(None, (self._own, self._lender)):
            place.lend(lent, may_remove=place is self._own)
        return lent

    def take(self, lent: Lent, new: Path, own: Path) -> CacheUse:
        """Take over what a compile left in the folder ``new``, and read in ``own`` what it says of its hits.

        Both folders are hostile. What is not as it should be is not taken over, and fails nothing; nor
        does a cache that cannot be written.
        """
        entries, refused = _read_new(new)
        try:
            kept = self._own.take(entries, _find_used(lent), self._most)
        except OSError as error:
            kept, refused = 0, f"{self._own.folder.parent} cannot be written: {error.strerror or error}"
        return replace(self.read_use(lent, own), kept=kept, refused=refused)

    @staticmethod
    def read_use(lent: Lent, own: Path) -> CacheUse:
        """Return what a compile says of its hits, without taking anything over."""
        hits, misses = _read_statistics(own)
        return CacheUse(hits=hits, misses=misses, damaged=lent.damaged)

    def drop(self) -> None:
        """Remove all entries."""
        self._own.drop()


class _Place:
    """A lane's folder: the list of its entries, and their contents in files that are named by their digests."""

    def __init__(self, folder: Path, driver: str) -> None:
        self.folder = folder
        self._driver = driver

    def lend(self, lent: Lent, *, may_remove: bool) -> None:
        damaged = set()
        for name, entry in self._read().entries.items():
            copy = lent.folder / name
            if name in lent.names or entry.sha256 in damaged:
                continue
            try:
                content = self._read_content(entry)
            except OSError:  # another run removed it since
                continue
            except FormatError:
                damaged.add(entry.sha256)
                continue
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(content)
            os.utime(copy, (_UNREAD_S, _UNREAD_S))
            lent.names.add(name)
        lent.damaged += len(damaged)
        if damaged and may_remove and not self.folder.is_symlink():
            with alone(self.folder):
                entries = {name: entry for name, entry in self._read().entries.items() if entry.sha256 not in damaged}
                self._write(entries)

    def take(self, new: Mapping[str, bytes], used: Iterable[str], most: int) -> int:
        """Add entries, note which were used, and remove those that were not used for longest; returns how many are new.

        Killed in between, it leaves the older list, and files that are in none.
        """
        now = int(time.time())
        with alone(self.folder):
            if self.folder.is_symlink():  # what is in no list is removed: nobody's own files may be
                self.folder.unlink()
            self.folder.mkdir(exist_ok=True)
            entries = {**self._read().entries}
            for name in used:
                if name in entries:
                    entries[name] = entries[name].model_copy(update={"used": now})
            for name, content in new.items():
                digest = hashlib.sha256(content).hexdigest()
                replace_file(self.folder / digest, content)
                entries[name] = _Entry(sha256=digest, size=len(content), used=now)
            for name in _choose_oldest(entries, most):
                del entries[name]
            self._write(entries)
        return len(new)

    def measure(self) -> LaneSize:
        known = self._read()
        size = sum(entry.size for entry in known.entries.values())
        used = max((entry.used for entry in known.entries.values()), default=0)
        return LaneSize(key=self.folder.name, driver=known.driver, size=size, used=used)

    def drop(self) -> None:
        with alone(self.folder):
            remove_folder(self.folder)

    def _read(self) -> _List:
        """Return the list; one that cannot be read has no entries."""
        try:
            with open_regular(self.folder / _LIST_FILE, most=_LARGEST_LIST, follow=False) as stream:
                return read_list(stream.read(_LARGEST_LIST + 1))
        except (OSError, FormatError):
            return _List()

    def _write(self, entries: dict[str, _Entry]) -> None:
        """Write the list, then remove the files that are not in it."""
        found = _List(driver=self._driver, entries=entries)
        replace_file(self.folder / _LIST_FILE, emit_json(found.model_dump(mode="json")).encode())
        kept = {entry.sha256 for entry in entries.values()} | {_LIST_FILE}
        with os.scandir(self.folder) as files:
            gone = [file.name for file in files if file.name not in kept]
        for name in gone:
            remove_folder(self.folder / name)  # whatever it is

    def _read_content(self, entry: _Entry) -> bytes:
        """Return the content of an entry.

        Raises:
            OSError: it is not there.
            FormatError: it is not the one that was taken over.
        """
        try:
            with open_regular(self.folder / entry.sha256, most=entry.size, follow=False) as stream:
                content = stream.read(entry.size + 1)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise FormatError("is a link") from None
            raise
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise FormatError("was changed")
        return content


def _read_statistics(own: Path) -> tuple[int, int]:
    try:
        with open_inside(own, STATISTICS_FILE, most=_LARGEST_STATISTICS) as stream:
            return read_statistics(stream.read(_LARGEST_STATISTICS))
    except (OSError, FormatError):
        return 0, 0


def _read_new(folder: Path) -> tuple[dict[str, bytes], str]:
    """Return entries that a compile left, and why others of them, or all, are refused."""
    try:
        left: CompileResult = read_result(folder, _BOUNDS)
    except CellError as error:
        return {}, error.message.rpartition("cannot be used: ")[2]
    entries, refused = {}, ""
    for name, file in left.files():
        if name == TAG_FILE:
            continue
        try:
            check_entry(name, file.content)
        except FormatError as error:
            refused = refused or error.message
        else:
            entries[name] = file.content
    return entries, refused


def _find_used(lent: Lent) -> Iterator[str]:
    """Yield the entries whose copies were read, as far as the compile left their times alone."""
    for name in lent.names:
        try:
            is_read = (lent.folder / name).lstat().st_mtime > _UNREAD_S
        except OSError:
            continue
        if is_read:
            yield name


def _choose_oldest(entries: dict[str, _Entry], most: int) -> set[str]:
    """Return the entries to be removed so that the others have at most so many bytes."""
    size = sum(entry.size for entry in entries.values())
    gone = set()
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].used, item[0])):
        if size <= most:
            break
        gone.add(name)
        size -= entry.size
    return gone
