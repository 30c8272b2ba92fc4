"""The monitor beside the console: nothing waits for QEMU, and a QEMU that does not answer is told."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from builder.boot import monitor as monitor_module
from builder.boot.devices import DEVICES, Claim
from builder.boot.monitor import Attended, Monitor, open_monitor
from builder.boot.script import Step, StepKind
from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Console:
    """A machine whose console is silent, until it is not; each look at it lets something happen."""

    def __init__(self, *happens: Callable[[], object]) -> None:
        self._happens = list(happens)
        self.looks: list[float] = []

    def read(self, timeout_s: float) -> bytes | None:
        self.looks.append(timeout_s)
        if not self._happens:
            return None
        self._happens.pop(0)()
        return None if self._happens else b"said"

    def write(self, data: bytes) -> None:
        self.looks.append(len(data))


def _step(kind: StepKind) -> Step:
    return Step(number=1, kind=kind, subject="edu", timeout_s=9, claims=(Claim(device=DEVICES["edu"], modules=("x",)),))


@pytest.fixture
def pair() -> Iterator[tuple[Monitor, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield Monitor(ours, theirs.fileno()), theirs


def _send(theirs: socket.socket, **message: Any) -> None:
    theirs.sendall(json.dumps(message).encode() + b"\n")


def _names(theirs: socket.socket) -> list[str]:
    return [json.loads(line)["execute"] for line in theirs.recv(4096).splitlines()]


def test_the_hosts_part_of_each_step(pair: tuple[Monitor, socket.socket]) -> None:
    monitor, theirs = pair
    heard: list[str] = []
    console = _Console(
        lambda: _send(theirs, QMP={}),
        lambda: heard.extend(_names(theirs)),
        lambda: _send(theirs, id=1, **{"return": {}}),
        lambda: heard.extend(_names(theirs)),
    )
    guest = Attended(console, monitor)
    guest.begin(_step(StepKind.BOUND))
    assert not monitor.is_waiting
    guest.begin(_step(StepKind.UNPLUG))
    assert guest.read(100.0) == b"said"
    assert heard == ["qmp_capabilities", "device_del"]
    assert max(console.looks) < 1, "it is looked after all the while"
    guest.begin(_step(StepKind.PLUG))
    _send(theirs, id=2, **{"return": {}})
    monitor.advance()
    with pytest.raises(BlockingIOError):
        theirs.recv(4096)
    _send(theirs, event="DEVICE_DELETED", data={"device": "edu"})
    monitor.advance()
    assert _names(theirs) == ["device_add"]
    _send(theirs, id=3, **{"return": {}})
    monitor.advance()
    guest.check_done()


def test_a_console_alone_is_read_as_it_was() -> None:
    console = _Console()
    guest = Attended(console, None)
    guest.begin(_step(StepKind.UNPLUG))
    assert guest.read(7.0) is None
    assert console.looks == [pytest.approx(7.0, abs=0.5)]
    guest.check_done()
    with open_monitor(is_wanted=False) as none:
        assert none is None


@pytest.mark.parametrize("how", ["silent", "gone"])
def test_a_qemu_that_does_not_answer_is_told(
    pair: tuple[Monitor, socket.socket], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monitor, theirs = pair
    _send(theirs, QMP={})
    guest = Attended(_Console(), monitor)
    guest.begin(_step(StepKind.TRY_UNPLUG))
    monitor.advance()
    if how == "gone":
        theirs.close()
        monitor.advance()
    with pytest.raises(FormatError, match="QEMU did not answer qmp_capabilities within 15 s"):
        guest.check_done()
    monkeypatch.setattr(monitor_module, "_PATIENCE_S", 0.0)
    with pytest.raises(FormatError, match="QEMU did not answer qmp_capabilities"):
        guest.read(60.0)


def test_both_ends_are_closed_in_the_end() -> None:
    with open_monitor(is_wanted=True) as monitor:
        assert monitor is not None
        os.write(monitor.theirs, b'{"QMP": {}}\n')
        monitor.unplug(DEVICES["edu"])
        monitor.advance()
        assert json.loads(os.read(monitor.theirs, 4096))["execute"] == "qmp_capabilities"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(monitor.theirs)
