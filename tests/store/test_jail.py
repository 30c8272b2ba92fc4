"""Which walls a machine can put around a compile, and what it says where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from builder.errors import CellError, HostError, UsageError
from builder.host import limits as limits_module
from builder.host.bounds import Limits
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
        assert 'additionalimagestores = ["/room/below"]' in settings
    assert list(graph.iterdir()) == []


@pytest.mark.usefixtures("machine")
def test_the_store_is_read_through_links_and_with_locks_of_the_rooms_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes into the store locks it in another order: each would wait for the other, for ever."""
    jail, graph = _open_jail(tmp_path, monkeypatch)
    for name in ("overlay-images/images.lock", "overlay-images/images.json", "overlay-layers/layers.lock"):
        (graph / name).parent.mkdir(exist_ok=True)
        (graph / name).write_text(name)
    with jail.open_room():
        view = next(graph.glob("kmodsmith-room-*")) / "below"
        links = {str(file.relative_to(view)): str(file.readlink()) for file in view.rglob("*") if file.is_symlink()}
        assert links == {"overlay": "/store/overlay", "overlay-images/images.json": "/store/overlay-images/images.json"}
        for kind in ("images", "layers"):
            assert (view / f"overlay-{kind}" / f"{kind}.lock").read_text() == ""


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
