"""What bounds a compile: control groups of every kind, and the disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from builder.host import limits as limits_module
from builder.host.bounds import Limits
from builder.host.limits import DiskWatch, find_grouping

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


_LIMITS = Limits(memory_bytes=2**20, processes=7, disk_bytes=2**20)


def test_a_disk_that_runs_full_is_nobodys_fault(tmp_path: Path) -> None:
    watch = DiskWatch([tmp_path], 2**60)
    watch._free_bytes = 2**62
    reserve = 2**70
    monkey = pytest.MonkeyPatch()
    monkey.setattr(limits_module, "_RESERVE_BYTES", reserve)
    watch._free_bytes = reserve
    watch._limit = 2**80
    assert "MiB of disk are left" in watch.look()
    monkey.undo()
    assert watch.hit is not None
    assert (watch.hit.failure_class, watch.hit.code) == ("infrastructure", "disk-full")


def test_what_is_printed_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log lies outside of the folders that are counted, and may be on another disk."""
    monkeypatch.setattr(limits_module, "_MOST_PRINTED", 1000)
    (tmp_path / "room").mkdir()
    watch, log = DiskWatch([tmp_path / "room"], 2**60), tmp_path / "log"
    assert watch.look(log) == watch.look() == ""
    log.write_bytes(bytes(1000))
    assert watch.look(log) == ""
    log.write_bytes(bytes(1001))
    assert "it printed more than" in watch.look(log)
    assert watch.hit is not None
    assert (watch.hit.failure_class, watch.hit.code) == ("compile", "output-limit")


def _usage(free_mib: int) -> os.statvfs_result:
    return os.statvfs_result((2**20, 2**20, 2**30, free_mib, free_mib, 2**30, 2**30, 2**30, 0, 255))


def test_what_others_give_back_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compile takes, another one is removed: free space has grown, and still each is held to its limit."""
    free = [1000]
    monkeypatch.setattr(os, "statvfs", lambda _: _usage(free[0]))
    counted: list[str] = []

    def count(_: DiskWatch, unit: str) -> int:
        counted.append(unit)
        return 100 * 2**20

    monkeypatch.setattr(DiskWatch, "_sum", count)
    watch = DiskWatch([tmp_path], 64 * 2**20)
    free[0] = 2000
    assert watch.look() == ""
    assert not counted
    free[0] = 1930  # it takes seventy of what there is now; of what there was, it would be more free than ever
    assert watch.look() == "it wrote 100 MiB in 104857600 files; 64 MiB are allowed"


def test_files_are_counted_now_and_then_whatever_free_space_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: _usage(1000))
    monkeypatch.setattr(DiskWatch, "_sum", lambda _, unit: 100 * 2**20 if unit == "--block-size=1" else 3)
    watch = DiskWatch([tmp_path], 64 * 2**20)
    looks = [watch.look() for _ in range(limits_module._COUNTS_EVERY)]
    assert looks[:-1] == [""] * (limits_module._COUNTS_EVERY - 1)
    assert looks[-1] == "it wrote 100 MiB in 3 files; 64 MiB are allowed"


def test_groups_by_hand_join_bound_and_tell(tmp_path: Path) -> None:
    for name in ("memory", "pids"):
        (tmp_path / name).mkdir()
    group = limits_module._Version1(memory=tmp_path / "memory", pids=tmp_path / "pids").make(_LIMITS)
    made = {file.relative_to(tmp_path).parts[2]: file.read_text() for file in tmp_path.rglob("*") if file.is_file()}
    assert made == {"memory.limit_in_bytes": str(2**20), "pids.max": "7"}
    assert group.hits() == frozenset()
    folder = next((tmp_path / "memory").iterdir())
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert group.hits() == {"memory"}
    (next((tmp_path / "pids").iterdir()) / "pids.events").write_text("max 11\n")
    assert group.hits() == {"memory", "processes"}
    assert group.prefix[:2] == ("sh", "-c")
    assert str(folder) in group.prefix


def test_groups_that_somebody_left_behind_are_in_nobodys_way(tmp_path: Path) -> None:
    """Of another container with our pid, or of a compile whose last process took its time to die."""
    grouping = limits_module._Version2(parent=tmp_path)
    for _ in range(3):
        grouping.make(_LIMITS)
    number = os.getpid()
    assert len(list(tmp_path.iterdir())) == 3
    for old in range(50):
        (tmp_path / f"kmodsmith-{number}-{old}").mkdir()
    assert grouping.make(_LIMITS).prefix


def test_groups_that_do_not_work_are_not_taken(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools.add("true")
    broken = limits_module._Version2(parent=tmp_path / "missing")
    works = limits_module._Version2(parent=tmp_path)
    monkeypatch.setattr(limits_module, "_candidates", lambda: (broken, works))
    assert find_grouping() is works  # joining is writing into a file: a plain folder takes it, too


def test_systemd_makes_scopes_for_root_and_for_users() -> None:
    for is_root in (True, False):
        words = limits_module._Systemd(is_root=is_root).make(_LIMITS).prefix
        assert words[0] == "systemd-run"
        assert ("--user" in words) is not is_root
        assert {"MemoryMax=1048576", "TasksMax=7", "MemorySwapMax=0"} <= {*words}
