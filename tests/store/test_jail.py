from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from builder.errors import CellError, HostError, UsageError
from builder.host import limits as limits_module
from builder.host.bounds import Limits
from builder.host.limits import DiskWatch, find_grouping
from builder.host.seccomp import jail_filter
from builder.plan.project import open_project
from builder.store import jail as jail_module
from builder.store.images import Store
from builder.store.jail import Jail, find_walls

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

_BWRAP = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
_LIMITS = Limits(memory_bytes=2**20, processes=7, disk_bytes=2**20)


@pytest.fixture
def machine(fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """A machine on which everything works, without control groups."""
    fake_tools.add("bwrap", _BWRAP)
    fake_tools.add("unshare", 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')
    fake_tools.add("true")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.delenv("KMODSMITH_JAIL", raising=False)
    monkeypatch.setattr(limits_module, "_candidates", lambda: ())
    return fake_tools


@pytest.mark.usefixtures("machine")
def test_a_machine_that_can_gets_a_room() -> None:
    walls = find_walls()
    assert walls.has_room
    assert walls.users[0][0] == 0
    assert "a room of its own" in str(walls)
    assert "no control groups" in str(walls)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "No permissions to create"),
        ("exit 3", "exit code 3"),
    ],
)
def test_a_machine_that_cannot_says_so_and_builds_nothing(machine: FakeTools, script: str, sentence: str) -> None:
    machine.add("bwrap", script)
    with pytest.raises(HostError, match=sentence):
        find_walls()


@pytest.mark.usefixtures("machine")
def test_a_machine_without_bubblewrap_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jail_module, "find_tool", lambda _name: None)
    with pytest.raises(HostError, match="bwrap is not installed"):
        find_walls()


def test_without_user_namespaces_it_is_said(machine: FakeTools) -> None:
    machine.add("unshare", "exit 1")
    walls = find_walls()
    assert walls.users == ()
    assert "without a user namespace" in str(walls)


def test_a_pod_is_a_room_only_where_somebody_says_so(machine: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.add("bwrap", "exit 1")
    monkeypatch.setenv("KMODSMITH_JAIL", "pod")
    assert not find_walls().has_room
    assert "this pod alone" in str(find_walls())
    monkeypatch.setenv("KMODSMITH_JAIL", "none")
    with pytest.raises(UsageError, match="the only value is 'pod'"):
        find_walls()


def test_a_file_that_is_not_trusted_raises_no_limit(project_dir: Path) -> None:
    file = project_dir / "versions.yaml"
    file.write_text(f"{file.read_text()}build: {{compile_memory: 999999, compile_processes: 100}}\n")
    project = open_project(project_dir)
    wished = project.config.build.limits()
    assert (wished.memory_bytes, wished.processes) == (999999 * 2**20, 100)
    assert replace(project, untrusted=True).jail._limits.memory_bytes == 4096 * 2**20
    assert replace(project, untrusted=True).jail._limits.processes == 100


def _open_jail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Jail, Path]:
    store = Store(driver="overlay", graph_root=tmp_path / "graph", run_root=tmp_path / "run")
    store.graph_root.mkdir()
    monkeypatch.setattr(jail_module, "find_store", lambda: store)
    return Jail(_LIMITS), store.graph_root


@pytest.mark.usefixtures("machine")
def test_a_room_is_gone_with_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jail, graph = _open_jail(tmp_path, monkeypatch)
    with jail.open_room() as room:
        (room.results / "deep" / "er").mkdir(parents=True)
        assert len(jail_module.find_rooms(graph)) == 1
        settings = (next(graph.iterdir()) / "storage.conf").read_text()
        assert 'graphroot = "/room/graph"' in settings
        assert 'additionalimagestores = ["/store"]' in settings
    assert list(graph.iterdir()) == []


@pytest.mark.usefixtures("machine")
def test_a_room_whose_control_group_cannot_be_made_is_gone_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jail, graph = _open_jail(tmp_path, monkeypatch)
    missing = limits_module._Version2(parent=tmp_path / "missing")
    monkeypatch.setattr(jail_module, "find_grouping", lambda: missing)
    with pytest.raises(HostError, match="no control group"), jail.open_room():
        pass
    assert list(graph.iterdir()) == []


def test_a_compile_that_writes_too_much_is_stopped_and_named(
    machine: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add("du", 'case "$*" in *--inodes*) echo "3 /x";; *) echo "9000000 /x";; esac')
    jail, _ = _open_jail(tmp_path, monkeypatch)
    with jail.open_room() as room:
        room.raise_limit()  # nothing was hit
        room._watch._limit = 2**20
        room._watch._free_bytes = 2**60
        assert "it wrote 8 MiB in 3 files; 1 MiB are allowed" in room._watch.look()
        with pytest.raises(CellError, match="it wrote 8 MiB") as caught:
            room.raise_limit()
    assert (caught.value.failure.failure_class, caught.value.failure.code) == ("compile", "disk-limit")


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


@pytest.mark.usefixtures("machine")
def test_groups_that_do_not_work_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def _run_filter(program: bytes, *, number: int, arch: int, argument: int = 0) -> int:
    """Interpret a filter as the kernel does (Documentation/networking/filter)."""
    data = struct.pack("=iIQ6Q", number, arch, 0, argument, *[0] * 5)
    accumulator = at = 0
    while True:
        code, yes, no, value = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case 0x15:
                at += yes if accumulator == value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(code)


_X86, _ARM, _I386 = 0xC000003E, 0xC00000B7, 0x40000003
_ALLOW, _ENOSYS, _EAFNOSUPPORT = 0x7FFF0000, 0x50026, 0x50061


@pytest.mark.parametrize(
    ("machine", "arch", "number", "argument", "answer"),
    [
        ("x86_64", _X86, 0, 0, _ALLOW),
        ("x86_64", _X86, 248, 0, _ENOSYS),
        ("x86_64", _X86, 249, 0, _ENOSYS),
        ("x86_64", _X86, 250, 0, _ENOSYS),
        ("x86_64", _X86, 41, 2, _ALLOW),
        ("x86_64", _X86, 41, 40, _EAFNOSUPPORT),
        ("x86_64", _X86, 41, 40 + (1 << 32), _EAFNOSUPPORT),
        ("x86_64", _X86, 250 + 0x40000000, 0, _ENOSYS),
        ("x86_64", _I386, 288, 0, _ENOSYS),
        ("aarch64", _ARM, 219, 0, _ENOSYS),
        ("aarch64", _ARM, 198, 40, _EAFNOSUPPORT),
        ("aarch64", _ARM, 198, 1, _ALLOW),
    ],
)
def test_keys_and_the_hypervisor_are_out_of_reach(
    machine: str, arch: int, number: int, argument: int, answer: int
) -> None:
    assert _run_filter(jail_filter(machine), number=number, arch=arch, argument=argument) == answer


def test_a_machine_that_is_not_known_gets_no_filter() -> None:
    assert jail_filter("riscv64") == b""
