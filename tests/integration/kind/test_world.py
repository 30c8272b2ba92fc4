"""What is left of a cluster when it has ended, also where whoever made it was killed: nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from integration.kind.cluster import create_cluster
from integration.kind.make import cache_dir, make
from integration.kind.node_image import make_node_image
from integration.kind.recipe import CLUSTER
from integration.kind.world import (
    PLACE,
    WorldError,
    end_world,
    engine_dir,
    find_world,
    open_world,
    start_world,
    world_name,
)

pytestmark = pytest.mark.kind
_ROOT = Path(__file__).parents[3]
_ENGINE = engine_dir()
# Programs of engines and nodes, as the kernel calls them: 15 letters.
_PROGRAMS = (
    "containerd", "containerd-shim", "coredns", "dockerd", "etcd", "kube-apiserver", "kube-controller", "kube-proxy",
    "kube-scheduler", "kubelet", "node-cni", "pause", "systemd-journal",
)  # fmt: skip
_WORDS = ("docker", world_name(), "kube", "kind")
_ANOTHERS = re.compile(r"/kmodsmith-[^/]+")


@pytest.fixture(autouse=True)
def _alone() -> None:
    assert find_world() is None, "a cluster is running: nox -s e2e -- --delete ends it"


def _state() -> dict[str, object]:
    """What a cluster could leave on this machine; what others do meanwhile is not in it."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    rules = [line for table in ("filter", "nat") for line in _list_rules(table)]
    # Another world may have groups of its own meanwhile: theirs are below one of its name, ours would not be.
    groups = (path for path, _, _ in os.walk("/sys/fs/cgroup") if world_name() in path or not _ANOTHERS.search(path))
    return {
        "programs": _running(),
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir() if not path.name.startswith("veth")),
        "rules": rules,
        "mounts": [line for line in mounts if any(word in line.split()[1] for word in _WORDS)],
        "groups": sorted(path for path in groups if any(word in path.rpartition("/")[2] for word in _WORDS)),
        "place": PLACE.exists(),
        "cache": sorted(path.name for path in cache_dir().iterdir()),
    }


def _list_rules(table: str) -> list[str]:
    listing = subprocess.run(["iptables", "-w", "-t", table, "-S"], check=True, capture_output=True, text=True)
    return listing.stdout.splitlines()


def _running() -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name = (entry / "comm").read_text().strip()
        except OSError:
            continue
        if name in _PROGRAMS or name.startswith("containerd-shim"):
            found.append(f"{name} {entry.name}")
    return sorted(found)


def _gone(before: dict[str, object]) -> dict[str, object]:
    """Wait a moment for the kernel, and return what differs still."""
    for _ in range(50):
        after = _state()
        if after == before:
            break
        time.sleep(0.2)
    return {name: (before[name], value) for name, value in after.items() if value != before[name]}


def test_three_clusters_leave_nothing() -> None:
    programs = make(CLUSTER)
    with open_world(_ENGINE) as world:  # what is kept on purpose is there before
        image = make_node_image(world, programs)
    before = _state()
    for _ in range(3):
        with open_world(_ENGINE) as world:
            create_cluster(world, programs, image)
            assert len(world.docker("ps", "--quiet").split()) == 2
            assert _running() != before["programs"], "it sees what there is to see"
            assert _state() != before
        assert not _gone(before)
    with open_world(_ENGINE) as world:
        assert not world.docker("ps", "--all", "--quiet")
        assert not world.docker("volume", "ls", "--quiet")
        assert {name.partition(":")[0] for name in world.docker("images", "--format={{.Repository}}:{{.Tag}}").split()} <= {
            "kmodsmith-e2e-node", "kmodsmith-e2e-rootfs", "<none>",
        }  # fmt: skip


def test_one_whose_maker_is_killed_leaves_nothing_that_runs() -> None:
    before = _state()
    script = f"""
        import pathlib, time
        from integration.kind.world import start_world
        world = start_world(pathlib.Path({str(_ENGINE)!r}))
        world.docker("run", "--detach", "--privileged", "--entrypoint=sleep", "kmodsmith-e2e-rootfs", "600")
        print("started", flush=True)
        time.sleep(600)
    """
    environment = os.environ | {"PYTHONPATH": f"{_ROOT}:{_ROOT / 'tests'}"}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, stdout=subprocess.PIPE, text=True
    ) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "started\n"
        assert find_world() is not None
        maker.send_signal(signal.SIGKILL)
    for _ in range(100):
        if _running() == before["programs"]:
            break
        time.sleep(0.1)
    assert _running() == before["programs"]
    assert find_world() is None
    with open_world(_ENGINE) as world:
        assert not world.docker("ps", "--all", "--quiet"), "the next start forgets what was left"
    assert not _gone(before)


def test_there_is_one_at_a_time() -> None:
    with open_world(_ENGINE), pytest.raises(WorldError, match="running already"):
        start_world(_ENGINE)
    end_world()  # nothing runs: nothing to do


def test_one_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _state()
    monkeypatch.setattr(
        "integration.kind.world._engine", lambda _folder: ["sh", "-c", "echo no room for me >&2; exit 3"]
    )
    with pytest.raises(WorldError, match="no room for me"):
        start_world(tmp_path / "engine")
    assert not _gone(before)
