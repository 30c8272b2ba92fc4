"""Which guests start from a snapshot, which take one, and which are left alone."""

from __future__ import annotations

import errno
import json
import os
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.firmware import FakeQemu, selection

from builder.boot import snapshot as snapshot_module
from builder.boot.machine import Firmware, Guest
from builder.boot.snapshot import Attempt, Snapshots
from builder.digest import sha256_of
from builder.kernel import Arch

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

_VERSION = "echo QEMU emulator version 7.2.0"


@pytest.fixture
def guest(tmp_path: Path, fake_tools: FakeTools) -> Guest:
    snapshot_module._version_of.cache_clear()
    snapshot_module._digest_of.cache_clear()
    fake_tools.add("qemu-system-x86_64", _VERSION)
    fake_tools.add("qemu-system-aarch64", _VERSION)
    files = {name: tmp_path / name for name in ("code", "template", "variables")}
    for name, file in files.items():
        file.write_text(name)
    return Guest(
        arch=Arch.X86_64, vmlinuz=tmp_path / "vmlinuz", initramfs=tmp_path / "initramfs", memory_mib=512, cpus=1,
        arguments=["quiet"], firmware=Firmware(code=files["code"], variables=files["template"], needs_smm=True),
        variables=files["variables"],
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "firmware"


def _identity(folder: Path, guest: Guest) -> str:
    with Snapshots(folder).attempt(guest) as attempt:
        assert attempt.kind is not None
        return attempt.kind.identity


def _note(folder: Path, guest: Guest, text: str) -> None:
    identity = _identity(folder, guest)
    (folder / f"{identity}.json").write_text(text)


def _have(folder: Path, guest: Guest) -> Path:
    digest = sha256_of(b"state").removeprefix("sha256:")
    _note(folder, guest, json.dumps({"point": 3, "digest": digest}))
    file = folder / f"{_identity(folder, guest)}.snapshot"
    file.write_bytes(b"state")
    return file


def _kind_of(attempt: Attempt) -> str:
    if attempt.resumed is not None:
        return "resumes"
    if attempt.listener is None:
        return "left alone"
    return "takes" if len(attempt.start.inherits) > 1 else "learns"


def _ways(snapshots: Snapshots, guest: Guest, times: int) -> list[str]:
    with ExitStack() as held:
        return [_kind_of(held.enter_context(snapshots.attempt(guest))) for _ in range(times)]


def test_the_first_guest_teaches_the_second_takes_and_the_others_start_from_it(folder: Path, guest: Guest) -> None:
    snapshots = Snapshots(folder)
    lines = [selection(0), selection(0x19), selection(8)]
    with snapshots.attempt(guest) as first:
        assert _kind_of(first) == "learns"
        assert first.listener is not None
        FakeQemu().run(first.listener, lines)
    with snapshots.attempt(guest) as second:
        assert _kind_of(second) == "takes"
        assert second.listener is not None
        assert "migration.store-global-state=off" in second.start.words
        FakeQemu().run(second.listener, lines[:2])
    for runs in (snapshots, Snapshots(folder)):
        with runs.attempt(guest) as later:
            assert not later.is_plain
            assert later.start.words == ("-incoming", f"fd:{later.start.inherits[0]}")
            assert os.pread(later.start.inherits[0], 100, 0) == b"the state of a machine"


def test_one_guest_of_a_run_takes_the_snapshot_while_others_start_from_reset(folder: Path, guest: Guest) -> None:
    _note(folder, guest, '{"point": 3}')
    assert _ways(Snapshots(folder), guest, 3) == ["takes", "left alone", "left alone"]


def test_guests_without_firmware_and_folders_that_cannot_be_written_are_left_alone(folder: Path, guest: Guest) -> None:
    assert _ways(Snapshots(folder), replace(guest, firmware=None, variables=None), 1) == ["left alone"]
    folder.write_text("a file")
    assert _ways(Snapshots(folder), guest, 1) == ["left alone"]


@pytest.mark.parametrize("content", [b"statf", b"stat", b"state2", b""])
def test_a_snapshot_in_which_one_byte_is_another_is_taken_anew(folder: Path, guest: Guest, content: bytes) -> None:
    """QEMU takes most of what is damaged, and a driver would be blamed for what firmware does then."""
    file = _have(folder, guest)
    file.write_bytes(content)
    assert _ways(Snapshots(folder), guest, 1) == ["takes"]
    assert not file.exists()


@pytest.mark.parametrize("what", ["link", "folder", "fifo", "large"])
def test_what_is_no_snapshot_is_not_started_from(
    folder: Path, guest: Guest, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _have(folder, guest)
    if what == "large":
        monkeypatch.setattr(snapshot_module, "_LARGEST_SNAPSHOT", 4)
    else:
        file.rename(folder / "elsewhere")
    if what == "link":
        file.symlink_to(folder / "elsewhere")
    if what == "folder":
        file.mkdir()
    if what == "fifo":
        os.mkfifo(file)
    assert _ways(Snapshots(folder), guest, 1) == ["left alone"]


@pytest.mark.parametrize(
    "text",
    ["", "5", "[]", '{"point": "3"}', '{"point": -1}', '{"point": 3.5}', '{"point": null}', "{" * 5000, "x" * 10_000, '{"point": 3', '{"point": 3, "failures": []}'],
)  # fmt: skip
def test_notes_that_say_nothing_are_made_again(folder: Path, guest: Guest, text: str) -> None:
    _note(folder, guest, text)
    assert _ways(Snapshots(folder), guest, 1) == ["learns"]


def test_a_snapshot_that_failed_is_removed_and_after_the_second_none_is_made(folder: Path, guest: Guest) -> None:
    file = _have(folder, guest)
    for expected in ("takes", "left alone"):
        snapshots = Snapshots(folder)
        with snapshots.attempt(guest) as attempt:
            assert _kind_of(attempt) == "resumes"
        snapshots.distrust(attempt)
        assert not file.exists()
        assert _ways(Snapshots(folder), guest, 1) == [expected]
        file.write_bytes(b"state")
    snapshots.distrust(Attempt())


_CHANGES: list[dict[str, Any]] = [
    {"memory_mib": 576}, {"cpus": 2}, {"devices": ("edu",)}, {"arch": Arch.AARCH64}, {"needs_smm": False},
    {"code": "other"}, {"variables": "other"}, {"version": "echo QEMU emulator version 8.2.0"},
]  # fmt: skip


@pytest.mark.parametrize("changes", _CHANGES, ids=lambda changes: next(iter(changes)))
def test_machines_that_differ_have_different_snapshots(
    folder: Path, guest: Guest, changes: dict[str, Any], fake_tools: FakeTools
) -> None:
    before = _identity(folder, guest)
    assert guest.firmware is not None
    assert guest.variables is not None
    if "version" in changes:
        fake_tools.add("qemu-system-x86_64", changes.pop("version"))
    if "code" in changes:
        guest.firmware.code.write_text(changes.pop("code"))
    if "variables" in changes:
        guest.variables.write_text(changes.pop("variables"))
    if "needs_smm" in changes:
        changes = {"firmware": replace(guest.firmware, needs_smm=changes["needs_smm"])}
    snapshot_module._version_of.cache_clear()
    snapshot_module._digest_of.cache_clear()
    assert _identity(folder, replace(guest, **changes)) != before


def test_guests_of_equal_machines_share_a_snapshot_whatever_they_run(folder: Path, guest: Guest) -> None:
    assert guest.firmware is not None
    elsewhere = {}
    for name in ("code", "variables"):
        elsewhere[name] = folder.parent / f"other-{name}"
        elsewhere[name].write_text(name)
    other = replace(
        guest, vmlinuz=folder / "k", initramfs=folder / "i", arguments=["quiet", "debug"],
        firmware=replace(guest.firmware, code=elsewhere["code"]), variables=elsewhere["variables"],
    )  # fmt: skip
    assert _identity(folder, guest) == _identity(folder, other)


def test_the_oldest_snapshots_and_what_was_left_half_written_go(
    folder: Path, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    _note(folder, guest, '{"point": 1}')
    for age in range(12):
        file = folder / f"{age}.snapshot"
        file.write_bytes(b"")
        os.utime(file, (10_000 - age, 10_000 - age))
    for name in (".left.part", ".fresh.part"):
        (folder / name).write_bytes(b"")
    os.utime(folder / ".left.part", (0, 0))
    with Snapshots(folder).attempt(guest) as attempt:
        assert attempt.listener is not None
        FakeQemu().run(attempt.listener, [selection(0)])
    names = {file.name for file in folder.iterdir() if file.suffix != ".json"}
    assert names == {f"{_identity(folder, guest)}.snapshot", *(f"{age}.snapshot" for age in range(7)), ".fresh.part"}


def test_a_snapshot_in_use_is_young(folder: Path, guest: Guest) -> None:
    file = _have(folder, guest)
    os.utime(file, (0, 0))
    with Snapshots(folder).attempt(guest):
        pass
    assert file.stat().st_mtime > 1e9


def test_a_folder_that_may_only_be_read_has_its_uses(
    folder: Path, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    _have(folder, guest)

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("os.utime", refuse)
    assert _ways(Snapshots(folder), guest, 2) == ["resumes", "resumes"]
