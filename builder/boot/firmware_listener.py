"""Hears what a guest's firmware asks for, and takes a snapshot of the machine before it asks for a kernel."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from builder.boot.fw_cfg import EVENT, Selections, choose_point
from builder.boot.machine import GuestStart
from builder.errors import FormatError
from builder.foreign import read_json
from builder.host.places import file_digest
from builder.host.processor import time_of_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path

_log = logging.getLogger(__name__)

# QEMU writes some 40 MiB: seconds, on a slow disk.
_PATIENCE_S = 30.0
_POLL_S = 0.01
_CHUNK = 64 * 1024
_LARGEST_ANSWER = 1024**2
_NO_LIMIT = 2**40
# Without it, a guest that was stopped for its snapshot would be stopped in every machine that starts from it.
_STARTS_BY_ITSELF = ("-global", "migration.store-global-state=off")


class _Purpose(Protocol):
    def begin(self) -> None:
        """Make ready, while firmware starts."""

    def is_done(self, selections: Selections) -> bool:
        """Look at what was selected so far, and do what is to be done."""


class FirmwareListener:
    """A thread that hears what firmware selects, until QEMU ends; nothing that goes wrong there is the guest's matter.

    Args:
        purpose: what is done with it.
        start: QEMU's words.
        told: what QEMU tells.
        theirs: closes QEMU's ends, which are its own as soon as it runs.
    """

    def __init__(self, purpose: _Purpose, start: GuestStart, told: FileIO, theirs: Callable[[], None]) -> None:
        self.start = start
        self._purpose = purpose
        self._told = told
        self._let_go = theirs
        self._thread: threading.Thread | None = None

    def begin(self, pid: int) -> None:
        """Say that QEMU runs."""
        self._let_go()
        self._thread = threading.Thread(target=self._attend, args=(pid,), name="firmware", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait for what is under way; QEMU has ended, so it is soon over."""
        self._let_go()
        if self._thread is not None:
            self._thread.join()

    def _attend(self, pid: int) -> None:
        selections = Selections()
        try:
            self._purpose.begin()
            while data := self._told.read(_CHUNK):
                selections.feed(data, time_of_process(pid))
                if self._purpose.is_done(selections) or selections.has_seen_guest:
                    break
        except (OSError, FormatError) as error:
            _log.debug("no snapshot of firmware was taken: %s", error)
        # A guest must not wait because nobody reads what QEMU tells of it.
        with contextlib.suppress(OSError):
            while self._told.read(_CHUNK):
                pass


@contextlib.contextmanager
def learn_point(learned: Callable[[int], None]) -> Iterator[FirmwareListener]:
    """Listen to a guest, whose life is the block; ``learned`` hears after how many selections to take a snapshot."""
    with _listen(lambda *_: _Learning(learned), has_monitor=False) as listener:
        yield listener


@contextlib.contextmanager
def take_snapshot(point: int, file: Path, wrote: Callable[[str], None]) -> Iterator[FirmwareListener]:
    """Stop a guest, whose life is the block, after so many selections, write its state to a file, and let it go on.

    ``wrote`` hears the SHA-256 of what the file will hold, just before it is there.
    """
    with _listen(lambda told, ours: _Taking(point, file, wrote, told, ours), has_monitor=True) as listener:
        yield listener


@contextlib.contextmanager
def _listen(purpose: Callable[[FileIO, socket.socket], _Purpose], *, has_monitor: bool) -> Iterator[FirmwareListener]:
    reading, writing = os.pipe()
    ours, theirs = socket.socketpair()
    with ours, theirs, os.fdopen(reading, "rb", 0) as told, os.fdopen(writing, "wb", 0) as tells:
        words: tuple[str, ...] = ("-trace", EVENT, "-D", f"/dev/fd/{writing}")
        inherits: tuple[int, ...] = (writing,)
        if has_monitor:
            words += (*_STARTS_BY_ITSELF, "-chardev", f"socket,id=snapshot,fd={theirs.fileno()}")
            words += ("-mon", "chardev=snapshot,mode=control")
            inherits += (theirs.fileno(),)

        def let_go() -> None:
            tells.close()
            theirs.close()

        listener = FirmwareListener(purpose(told, ours), GuestStart(words=words, inherits=inherits), told, let_go)
        try:
            yield listener
        finally:
            listener.end()


class _Learning:
    def __init__(self, learned: Callable[[int], None]) -> None:
        self._learned = learned

    def begin(self) -> None:
        pass

    def is_done(self, selections: Selections) -> bool:
        if selections.has_seen_guest and (point := choose_point(selections.seconds)):
            self._learned(point)
        return selections.has_seen_guest


class _Taking:
    def __init__(self, point: int, file: Path, wrote: Callable[[str], None], told: FileIO, ours: socket.socket) -> None:
        self._point = point
        self._file = file
        self._wrote = wrote
        self._told = told
        self._monitor = _Monitor(ours)

    def begin(self) -> None:
        self._monitor.ask("qmp_capabilities")

    def is_done(self, selections: Selections) -> bool:
        """Take the snapshot when it is time.

        Raises:
            OSError: it cannot be written, or QEMU says nothing.
            FormatError: QEMU refuses, or firmware was quicker.
        """
        if len(selections.seconds) < self._point:
            return False
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            self._write(selections, part)
            self._wrote(file_digest(part))
            part.rename(self._file)
        finally:
            part.unlink(missing_ok=True)
        return True

    def _write(self, selections: Selections, part: Path) -> None:
        """Write the machine's state; the guest goes on, whatever comes of that."""
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            try:
                self._monitor.ask("stop")
                self._check_stopped_in_time(selections)
                self._monitor.save(stream.fileno())
            finally:
                self._monitor.ask("cont")
            os.fsync(stream.fileno())

    def _check_stopped_in_time(self, selections: Selections) -> None:
        os.set_blocking(self._told.fileno(), False)
        try:
            while data := self._told.read(_CHUNK):
                selections.feed(data, 0.0)
        finally:
            os.set_blocking(self._told.fileno(), True)
        if selections.has_seen_guest:
            raise FormatError("the firmware asked for its kernel before it could be stopped")


class _Monitor:
    """Our end of QEMU's monitor; each answer is waited for (docs/interop/qmp-spec.txt)."""

    def __init__(self, ours: socket.socket) -> None:
        self._ours = ours
        self._ours.settimeout(_PATIENCE_S)
        self._pending = b""

    def ask(self, command: str, *, descriptor: int | None = None, **arguments: object) -> dict[str, Any]:
        """Return what QEMU answers.

        Raises:
            OSError: QEMU has ended, or does not answer in time.
            FormatError: it refuses, or says something else.
        """
        line = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        socket.send_fds(self._ours, [line], [] if descriptor is None else [descriptor])
        taken = 0
        while True:
            line, is_whole, rest = self._pending.partition(b"\n")
            if is_whole:
                self._pending = rest
                if (answer := _read_answer(line, command)) is not None:
                    return answer
                continue
            data = self._ours.recv(_CHUNK)
            taken += len(data)
            if not data or taken > _LARGEST_ANSWER:
                raise FormatError("QEMU's monitor has ended, or says too much")
            self._pending += data

    def save(self, descriptor: int) -> None:
        """Have the machine's state written to an open file.

        Raises:
            OSError: as ``ask``.
            FormatError: as ``ask``; or it was not written in time, or not whole.
        """
        self.ask("getfd", descriptor=descriptor, fdname="snapshot")
        self.ask("migrate-set-parameters", **{"max-bandwidth": _NO_LIMIT})
        self.ask("migrate", uri="fd:snapshot")
        deadline = time.monotonic() + _PATIENCE_S
        while (status := self.ask("query-migrate").get("status")) != "completed":
            if status in {"failed", "cancelled"} or time.monotonic() > deadline:
                raise FormatError(f"QEMU did not write the machine's state: {str(status)[:40]}")
            time.sleep(_POLL_S)


def _read_answer(line: bytes, command: str) -> dict[str, Any] | None:
    """Return what a line answers; None where it is a greeting, an event, or nothing."""
    if not line.strip():
        return None
    message = read_json(line, "what QEMU says on its monitor")
    if "error" in message:
        raise FormatError(f"QEMU refuses {command}: {str(message['error'])[:200]}")
    answer = message.get("return")
    return answer if isinstance(answer, dict) else None
