"""Hearing when firmware is about to ask for a kernel, and stopping it before."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from fakes.firmware import STATE, FakeQemu, selection

from builder.boot.firmware_listener import learn_point, take_snapshot
from builder.digest import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

_BEFORE = [selection(0), selection(0x19), selection(0), selection(1)]
_KERNEL = [selection(8), selection(0x11)]


def _ignore(_digest: str) -> None:
    """What the snapshot will hold is of no interest."""


_WRITING = ["qmp_capabilities", "stop", "getfd", "migrate-set-parameters", "migrate", "query-migrate", "cont"]


def test_the_point_is_learned_by_the_processor_time_of_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.1, 0.4, 2.5, 2.7, 2.7, 2.7, 2.7])
    monkeypatch.setattr("builder.boot.firmware_listener.time_of_process", lambda _pid: next(times))
    learned: list[int] = []
    with learn_point(learned.append) as listener:
        # Each is told when the one before was heard: through a pipe they would come together.
        monkeypatch.setattr("builder.boot.firmware_listener._CHUNK", len(selection(0)))
        FakeQemu().run(listener, [*_BEFORE, *_KERNEL, selection(0)])
    assert learned == [3]


def test_nothing_is_learned_of_a_guest_that_never_asked_for_a_kernel() -> None:
    learned: list[int] = []
    with learn_point(learned.append) as listener:
        FakeQemu().run(listener, _BEFORE)
    assert learned == []


def test_a_guest_is_stopped_written_and_goes_on(tmp_path: Path) -> None:
    qemu, file = FakeQemu(), tmp_path / "a.snapshot"
    heard: list[tuple[str, bool]] = []
    with take_snapshot(3, file, lambda digest: heard.append((digest, file.exists()))) as listener:
        qemu.run(listener, _BEFORE[:3])
    assert heard == [(sha256_of(STATE).removeprefix("sha256:"), False)]
    assert qemu.asked == _WRITING
    assert file.read_bytes() == STATE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["a.snapshot"]


def test_firmware_that_was_quicker_leaves_no_snapshot(tmp_path: Path) -> None:
    """Between the point and its stop, the firmware asked for its kernel: that would be in the snapshot."""
    qemu = FakeQemu(when={"stop": lambda qemu: qemu.tell(_KERNEL[0])})
    with take_snapshot(3, tmp_path / "a.snapshot", _ignore) as listener:
        qemu.run(listener, _BEFORE[:3])
    assert qemu.asked == ["qmp_capabilities", "stop", "cont"]
    assert list(tmp_path.iterdir()) == []


def test_a_guest_that_never_comes_to_the_point_is_not_stopped(tmp_path: Path) -> None:
    qemu = FakeQemu(is_stopped=False)
    with take_snapshot(5, tmp_path / "a.snapshot", _ignore) as listener:
        qemu.run(listener, [*_BEFORE, *_KERNEL])
    assert qemu.asked == ["qmp_capabilities"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["qmp_capabilities", "stop", "getfd", "migrate-set-parameters", "migrate"])
@pytest.mark.parametrize(
    "answer",
    [b'{"error": {"class": "GenericError", "desc": "no"}}', b"nonsense", b"[1]", b"\xff", b'{"a":' * 5000, b""],
)
def test_whatever_qemu_answers_the_guest_goes_on(tmp_path: Path, command: str, answer: bytes) -> None:
    qemu = FakeQemu(answers={command: answer}, is_stopped=command != "qmp_capabilities")
    with take_snapshot(3, tmp_path / "a.snapshot", _ignore) as listener:
        qemu.run(listener, _BEFORE[:3])
    assert list(tmp_path.iterdir()) == []
    was_told = command != "qmp_capabilities" and answer != b""
    assert ("cont" in qemu.asked) == was_told


@pytest.mark.parametrize("status", [b'"failed"', b'"cancelled"', b"5", b"null"])
def test_a_state_that_was_not_written_whole_is_none(
    tmp_path: Path, status: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.boot.firmware_listener._PATIENCE_S", 0.2)
    monkeypatch.setattr("time.sleep", lambda _: None)
    qemu = FakeQemu(answers={"query-migrate": b'{"return": {"status": %s}}' % status})
    with take_snapshot(3, tmp_path / "a.snapshot", _ignore) as listener:
        qemu.run(listener, _BEFORE[:3])
    assert qemu.asked[-1] == "cont"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_nothing_disturbs_no_guest(tmp_path: Path) -> None:
    qemu = FakeQemu(is_stopped=False)
    with take_snapshot(3, tmp_path / "nowhere" / "a.snapshot", _ignore) as listener:
        qemu.run(listener, _BEFORE[:3])
    assert "stop" not in qemu.asked
