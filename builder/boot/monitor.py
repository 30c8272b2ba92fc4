"""QEMU's monitor for programs while a guest runs: takes devices from it and gives them back.

It is a pair of sockets of which QEMU holds one end and we the other: no file, so nobody else can find it, and no guest
reaches it.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Protocol

from builder.boot.qmp import Conversation
from builder.boot.script import HOT_PLUGS, UNPLUGS
from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.boot.devices import GuestDevice
    from builder.boot.script import Step

# QEMU answers at once; a port that blinks is done after five seconds.
_PATIENCE_S = 15.0
_CHUNK = 64 * 1024
_SLICE_S = 0.05


class Monitor:
    """Our end; ``theirs`` is the number of the descriptor that QEMU inherits. Nothing here waits."""

    def __init__(self, ours: socket.socket, theirs: int) -> None:
        self._ours = ours
        self._conversation = Conversation()
        self._since = 0.0
        self.theirs = theirs

    @property
    def is_waiting(self) -> bool:
        """Whether QEMU has something to do, so that ``advance`` should be called soon."""
        return bool(self._conversation.waits_for)

    def unplug(self, device: GuestDevice) -> None:
        self._since = time.monotonic()
        self._conversation.unplug(device.name)

    def plug(self, device: GuestDevice) -> None:
        self._since = time.monotonic()
        self._conversation.plug(device.arguments)

    def advance(self) -> None:
        """Take what QEMU said, and send what is to come next.

        Raises:
            FormatError: QEMU refuses, says what it should not, or nothing for too long.
        """
        # A QEMU that has ended, or takes nothing, is told by its console or by its silence.
        with contextlib.suppress(OSError):
            while data := self._ours.recv(_CHUNK):
                self._conversation.take(data)
        if line := self._conversation.next_line():
            with contextlib.suppress(OSError):
                self._ours.sendall(line)
        if self.is_waiting and time.monotonic() - self._since > _PATIENCE_S:
            self.check_done()

    def check_done(self) -> None:
        """Raises: FormatError: QEMU has not done what it was told."""
        if self.is_waiting:
            raise FormatError(f"QEMU did not {self._conversation.waits_for} within {_PATIENCE_S:g} s")


@contextlib.contextmanager
def open_monitor(*, is_wanted: bool) -> Iterator[Monitor | None]:
    """Make the pair; it is closed in the end, when QEMU has ended."""
    if not is_wanted:
        yield None
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield Monitor(ours, theirs.fileno())


class Console(Protocol):
    """A running machine; see ``host.run.Followed``."""

    def read(self, timeout_s: float) -> bytes | None: ...
    def write(self, data: bytes) -> None: ...


class Attended:
    """A running guest: its console, and its monitor, which is looked after while the console is read."""

    def __init__(self, machine: Console, monitor: Monitor | None) -> None:
        self._machine = machine
        self._monitor = monitor
        self._done: set[int] = set()
        self.write = machine.write

    def read(self, timeout_s: float) -> bytes | None:
        """Return what ``Followed.read`` does.

        Raises:
            FormatError: as ``Monitor.advance``.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self._monitor is not None:
                self._monitor.advance()
            left_s = deadline - time.monotonic()
            is_sliced = self._monitor is not None and self._monitor.is_waiting and left_s > _SLICE_S
            data = self._machine.read(_SLICE_S if is_sliced else left_s)
            if data is not None or not is_sliced:
                return data

    def begin(self, step: Step) -> None:
        """Do the host's part of a step: in the guest, it waits for the device to go or to come."""
        if self._monitor is None or step.kind not in HOT_PLUGS:
            return
        for claim in step.claims:
            if step.kind in UNPLUGS:
                self._monitor.unplug(claim.device)
            else:
                self._monitor.plug(claim.device)

    def end(self, step: Step) -> None:
        """Take note of whether QEMU has done its part of a step that the guest says is over.

        QEMU answers before the guest runs on, and a device of which it never said DEVICE_DELETED it does not give back.

        Raises:
            FormatError: as ``Monitor.advance``.
        """
        if self._monitor is not None:
            self._monitor.advance()
            if not self._monitor.is_waiting:
                self._done.add(step.number)

    def is_ahead(self, step: Step) -> bool:
        """Tell whether a step that is over in the guest cannot be: QEMU had not done its part, or was never told to."""
        return step.kind in HOT_PLUGS and step.number not in self._done

    def check_done(self) -> None:
        """Raises: FormatError: a step took too long, and it was QEMU that did not do its part."""
        if self._monitor is not None:
            self._monitor.check_done()
