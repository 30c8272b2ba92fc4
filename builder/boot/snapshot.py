"""Snapshots of firmware: what it does before it asks for a guest's kernel is done once, and not once a guest.

In software emulation, firmware with Secure Boot is busy for seconds with unpacking itself. The first guest of a kind is
listened to, to learn when that is over. The second is stopped there, its state is written to a file, and it goes on.
All others start from the file. Nothing of a kernel, a driver or its test is in it: firmware had not asked for them yet,
which QEMU tells. Kernel, initramfs and command line are those of the guest that starts from it, and so is what follows.

Files lie in one folder; each is for machines that are equal in all but kernel, initramfs and command line: the same
QEMU, the same words for it, and the same bytes of firmware and of its variables, so the same enrolled certificates.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from builder.boot.firmware_listener import learn_point, take_snapshot
from builder.boot.machine import FROM_RESET, GuestStart, emulator_of, make_command
from builder.digest import content_id
from builder.errors import FormatError, KmodsmithError
from builder.foreign import Parsed, parse_json
from builder.host.places import open_regular
from builder.host.run import Command, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.boot.firmware_listener import FirmwareListener
    from builder.boot.machine import Guest

_log = logging.getLogger(__name__)

_FORMAT = "1"
_MOST_FILES = 8
# A file can be damaged by a machine that loses its power; what fails twice will fail always.
_MOST_FAILURES = 2
_LARGEST_NOTES = 4096
_LARGEST_SNAPSHOT = 4 * 1024**3
_VERSION_TIMEOUT_S = 30.0
_STALE_S = 3600.0
_NOWHERE = Path("/")


class _Notes(Parsed):
    """What is known of machines of a kind.

    ``point``: after how many selections to take a snapshot; ``digest``: its SHA-256 (hexadecimal); ``failures``: how
    often one was of no use.
    """

    point: Annotated[int, Field(strict=True, ge=0, le=10**6)] = 0
    digest: Annotated[str, Field(strict=True, max_length=64)] = ""
    failures: Annotated[int, Field(strict=True, ge=0, le=10**6)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Machines that can start from the same file."""

    identity: str
    folder: Path

    @property
    def snapshot(self) -> Path:
        return self.folder / f"{self.identity}.snapshot"

    @property
    def notes(self) -> Path:
        return self.folder / f"{self.identity}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How a guest starts: from reset, where nothing else is said; ``resumed``: the words for a snapshot."""

    kind: _Kind | None = None
    resumed: GuestStart | None = None
    listener: FirmwareListener | None = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing is done for snapshots; else, that may be why a guest does not come up."""
        return self.resumed is None and self.listener is None

    @property
    def start(self) -> GuestStart:
        if self.listener is not None:
            return self.listener.start
        return self.resumed or FROM_RESET

    def begin(self, pid: int) -> None:
        """Say that QEMU runs."""
        if self.listener is not None:
            self.listener.begin(pid)


class Snapshots:
    """The snapshots of a folder; safe to use from several threads, and by several runs at once.

    Whatever goes wrong here costs time only: a guest then starts from reset.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._taken: set[str] = set()
        """Kinds of which a guest of this run takes the snapshot, or took it."""

    @contextlib.contextmanager
    def attempt(self, guest: Guest) -> Iterator[Attempt]:
        """Choose how an emulated guest starts; the block is its life."""
        with contextlib.ExitStack() as held:
            chosen = Attempt()
            try:
                if guest.firmware is not None:
                    chosen = self._choose(guest, held)
            except (OSError, KmodsmithError) as error:
                _log.debug("no snapshot of firmware is used: %s", error)
            yield chosen

    def distrust(self, attempt: Attempt) -> None:
        """Say that a guest came up from reset, but not in this attempt."""
        if attempt.kind is None:
            return
        _log.info("a guest came up without a snapshot of its firmware only: %s is removed", attempt.kind.snapshot)
        with contextlib.suppress(OSError):
            attempt.kind.snapshot.unlink(missing_ok=True)
            _change_notes(attempt.kind, failures=_read_notes(attempt.kind).failures + 1)

    def _choose(self, guest: Guest, held: contextlib.ExitStack) -> Attempt:
        kind = _Kind(identity=_identify(guest), folder=self._folder)
        notes = _read_notes(kind)
        if notes.failures >= _MOST_FAILURES:
            return Attempt()
        if (descriptor := _open_snapshot(kind, notes, held)) is not None:
            start = GuestStart(words=("-incoming", f"fd:{descriptor}"), inherits=(descriptor,))
            return Attempt(kind=kind, resumed=start)
        with self._guard:
            if kind.identity in self._taken:
                return Attempt()
            if notes.point:
                self._taken.add(kind.identity)
        self._folder.mkdir(parents=True, exist_ok=True)
        if not notes.point:
            learning = learn_point(lambda point: _change_notes(kind, point=point))
            return Attempt(kind=kind, listener=held.enter_context(learning))
        return Attempt(kind=kind, listener=held.enter_context(self._take(kind, notes.point)))

    @contextlib.contextmanager
    def _take(self, kind: _Kind, point: int) -> Iterator[FirmwareListener]:
        # The digest comes first: killed in between, or beside another run, a file has another one, and is taken anew.
        with take_snapshot(point, kind.snapshot, lambda digest: _change_notes(kind, digest=digest)) as listener:
            yield listener
        with contextlib.suppress(OSError):
            _remove_old(self._folder)


def _open_snapshot(kind: _Kind, notes: _Notes, held: contextlib.ExitStack) -> int | None:
    """Return a descriptor of the snapshot; one that is not what was written is removed.

    QEMU takes most of what is damaged, and a driver would be blamed for what firmware does then.

    Raises:
        OSError, FormatError: it is there, and is no file that can be read.
    """
    try:
        stream = held.enter_context(open_regular(kind.snapshot, most=_LARGEST_SNAPSHOT, follow=False))
    except FileNotFoundError:
        return None
    if hashlib.file_digest(stream, "sha256").hexdigest() != notes.digest:
        _log.info("the snapshot %s is not what was written, and is taken anew", kind.snapshot)
        kind.snapshot.unlink(missing_ok=True)
        return None
    os.lseek(stream.fileno(), 0, os.SEEK_SET)
    with contextlib.suppress(OSError):  # a cache that may only be read is good enough
        os.utime(stream.fileno())
    return stream.fileno()


def _read_notes(kind: _Kind) -> _Notes:
    try:
        with open_regular(kind.notes, most=_LARGEST_NOTES, follow=False) as stream:
            return parse_json(_Notes, stream.read(_LARGEST_NOTES), "notes of a snapshot")
    except (OSError, FormatError):
        return _Notes()


def _change_notes(kind: _Kind, **changes: int | str) -> None:
    notes = _read_notes(kind).model_copy(update=changes)
    temporary = kind.notes.with_name(f".{kind.notes.name}.{os.getpid()}.{threading.get_ident()}.part")
    temporary.write_text(notes.model_dump_json() + "\n", encoding="utf-8")
    temporary.replace(kind.notes)


def _remove_old(folder: Path) -> None:
    """Keep the snapshots that were used last, and nothing that a run left half-written."""
    by_use = sorted(folder.glob("*.snapshot"), key=lambda file: file.lstat().st_mtime, reverse=True)
    left = [file for file in folder.glob(".*.part") if time.time() - file.lstat().st_mtime > _STALE_S]
    for file in [*by_use[_MOST_FILES:], *left]:
        file.unlink(missing_ok=True)


def _identify(guest: Guest) -> str:
    """Return what is equal for all machines that can start from one file.

    Raises:
        HostError: QEMU is not installed, or firmware cannot be read.
    """
    files: list[Path] = []
    bare = replace(guest, vmlinuz=_NOWHERE, initramfs=_NOWHERE, arguments=())
    if guest.firmware is not None and guest.variables is not None:  # by what is in them, not by where they are
        files = [guest.firmware.code, guest.variables]
        bare = replace(bare, firmware=replace(guest.firmware, code=_NOWHERE), variables=_NOWHERE)
    version, words = _version_of(emulator_of(guest.arch)), make_command(bare, "tcg").argv
    return content_id("firmware-snapshot", _FORMAT, version, words, [_digest_of(file) for file in files])


@cache
def _version_of(program: str) -> str:
    return run(Command(argv=(program, "--version"), timeout_s=_VERSION_TIMEOUT_S)).check().stdout


@cache
def _digest_of(file: Path) -> str:
    """Return the SHA-256 of firmware or its variables, read once in a run: nothing changes them in their places."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
