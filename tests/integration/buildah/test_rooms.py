"""Rooms beside the real container store: what they wait for, and what they leave."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.locks import debian_of

from builder.host.bounds import Limits
from builder.host.run import run
from builder.kernel import Arch
from builder.sources.debian.kernels import read_busybox
from builder.sources.debian.parts import DebianParts
from builder.sources.download import Downloads
from builder.sources.lock_file import read_lock
from builder.store.build import ImageBuild
from builder.store.jail import Jail, find_rooms, remove_room

if TYPE_CHECKING:
    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_LIMITS = Limits(memory_bytes=1024**3, processes=256, disk_bytes=1024**3)
_BASE = "localhost/rooms:1"


@pytest.fixture
def base(machine: Machine, lock_text: str, tmp_path: Path) -> str:
    """An image with a shell in it."""
    (tmp_path / "versions.lock.yaml").write_text(lock_text)
    parts = DebianParts(locked=debian_of(read_lock(tmp_path / "versions.lock.yaml")), build_arch=Arch.X86_64)
    downloads = Downloads(tmp_path / "packages")
    program = tmp_path / "sh"
    program.write_bytes(read_busybox(parts, Arch.X86_64, downloads))
    program.chmod(0o755)
    downloads.close()
    container = machine.buildah("from", "scratch").strip()
    for tool in ("sh", "sleep"):
        machine.buildah("copy", "--quiet", container, str(program), f"/bin/{tool}")
    machine.buildah("commit", "--quiet", "--rm", container, _BASE)
    return _BASE


def _build(base: str, run_line: str, folder: Path, jail: Jail, *, timeout_s: float) -> ImageBuild:
    (folder / "context").mkdir()
    (folder / "Containerfile").write_text(f"ARG BASE\nFROM ${{BASE}} AS build\nRUN {run_line}\n")
    return ImageBuild(
        context=folder / "context", containerfile=folder / "Containerfile", arguments={"BASE": base}, log_file=None,
        jail=jail, timeout_s=timeout_s,
    )  # fmt: skip


@pytest.fixture(params=["", "pod"])
def jail(request: pytest.FixtureRequest, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Jail:
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", machine.environment["CONTAINERS_STORAGE_CONF"])
    monkeypatch.setenv("KMODSMITH_JAIL", request.param)
    return Jail(_LIMITS)


@pytest.mark.parametrize("kind", ["layers", "images"])
def test_a_compile_does_not_wait_for_who_writes_into_the_store(
    kind: str, jail: Jail, machine: Machine, base: str, tmp_path: Path
) -> None:
    """Buildah writes with the lock of layers before that of images, and reads the other way round: both waited."""
    build = _build(base, "echo made >/out/made", tmp_path, jail, timeout_s=60.0)
    lock = machine.folder / "graph" / f"overlay-{kind}" / f"{kind}.lock"
    with jail.open_room() as room, lock.open("r+b") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        outcome = run(build.compile(room))
        assert outcome, f"{outcome.explain()}: {outcome.stderr[-2000:]}"
        assert (room.results / "made").read_text() == "made\n"


def test_a_compile_that_is_stopped_leaves_no_mount_and_no_room(
    jail: Jail, machine: Machine, base: str, tmp_path: Path
) -> None:
    build = _build(base, "sleep 600", tmp_path, jail, timeout_s=6.0)
    with jail.open_room() as room:
        assert not run(build.compile(room))
    assert not find_rooms(machine.folder / "graph")
    assert "kmodsmith-room-" not in Path("/proc/self/mountinfo").read_text()


def test_a_room_in_which_somebody_was_killed_is_removed_with_its_mounts(machine: Machine) -> None:
    """Where the pod is the room, what buildah mounts for itself is seen from outside, and outlives it."""
    room = machine.folder / "graph" / "kmodsmith-room-killed here"
    for name in ("graph/overlay", "graph/overlay/a\tb"):
        (room / name).mkdir(parents=True)
        subprocess.run(["mount", "--bind", str(room / name), str(room / name)], check=True)
    remove_room(room)
    assert not room.exists()
    assert "kmodsmith-room-killed" not in Path("/proc/self/mountinfo").read_text()
