"""What bounds a compile: control groups of every kind, and the disk."""

from __future__ import annotations

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
