"""A world for a cluster: namespaces with a container engine in them, of which nothing stays when its first process ends.

Bridges, packet filter rules, mounts and processes of engine and nodes live in namespaces of their own. To end the first
process is to end them all: there is nothing to clean up one by one, and nothing that a killed run could leave behind.
Control groups and one folder below /run are outside; they are removed at the end, or by the next start.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integration.kind.make import BEYOND, cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORM = re.compile(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?", re.ASCII)


def name_world(given: str) -> str:
    """Return what a world is called by: folders and control groups of that name are removed with all that is in them.

    Raises:
        SystemExit: it could be a way to somewhere else.
    """
    if not _FORM.fullmatch(given):
        raise SystemExit(f"e2e: KMODSMITH_E2E_NAME is {given!r}; it is up to 24 small letters, digits and '-'")
    return f"kmodsmith-{given}"


_USUAL = "e2e"
# Another name is another world: two may run side by side, each with images of its own.
_NAME = name_world(os.environ.get("KMODSMITH_E2E_NAME") or _USUAL)
_INSIDE = "KMODSMITH_E2E_INSIDE"
PLACE = Path("/run", _NAME)
_CGROUPS = Path("/sys/fs/cgroup")
_HERE = Path(__file__).parent
_OURS: dict[int, subprocess.Popen[bytes]] = {}
_STARTS_WITHIN_S = 90.0
_ENDS_WITHIN_S = 30.0


def world_name() -> str:
    """Return the name of this world; what it has outside of its namespaces is called by it."""
    return _NAME


def engine_dir() -> Path:
    """Return where this world's engine keeps its images, also when it does not run."""
    return cache_dir() / ("engine" if name_world(_USUAL) == _NAME else f"engine-{_NAME}")


class WorldError(AssertionError):
    """A world does not start, or does not end."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A running world, known by its outermost process, and by the first of those inside.

    ``outside`` is a number of an open file of the latter: the network around the world, which no mount has to keep.
    """

    outer: int
    init: int
    data_dir: Path
    outside: int
    is_around_us: bool = False

    def beyond(self) -> tuple[str, ...]:
        """Return what to put before a command, inside, that needs the network around the world: archives, registries."""
        return ("nsenter", f"--net=/proc/{self.init}/fd/{self.outside}", "--")

    @property
    def environment(self) -> dict[str, str]:
        """What programs inside need to find the engine."""
        return {"DOCKER_HOST": f"unix://{PLACE}/docker.sock", "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(PLACE)}

    def command(self, *argv: str | Path) -> list[str]:
        """Return a command that runs another inside."""
        if self.is_around_us:
            return [*map(str, argv)]
        # Who enters a mount namespace is at its root.
        stay = ["sh", "-c", 'cd "$0" && exec "$@"', str(Path.cwd())]
        return ["nsenter", f"--target={self.init}", "--net", "--mount", "--pid", "--", *stay, *map(str, argv)]

    def run(self, *argv: str | Path, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command inside; what it said is told where it fails."""
        environment = os.environ | self.environment | more.pop("env", {})
        more = {"capture_output": True, "text": True, "timeout": 900.0} | more
        done = subprocess.run(self.command(*argv), env=environment, check=False, **more)
        if check and done.returncode:
            raise WorldError(
                f"{' '.join(map(str, argv[:6]))} ... ended with {done.returncode}: {done.stderr}{done.stdout}"
            )
        return done

    def docker(self, *argv: str | Path, check: bool = True, **more: Any) -> str:
        return str(self.run("docker", *argv, check=check, **more).stdout or "").strip()


@contextlib.contextmanager
def open_world(data_dir: Path) -> Iterator[World]:
    """Have a world until the end of the block; it ends also where this process is killed."""
    world = start_world(data_dir)
    try:
        yield world
    finally:
        end_world()


def start_world(data_dir: Path, *, stays: bool = False) -> World:
    """Start a world; images are kept in ``data_dir``. One that ``stays`` outlives this process.

    Raises:
        WorldError: there is one already, or the engine does not start.
    """
    if find_world():
        raise WorldError(
            "a cluster is running already: nox -s e2e -- --delete ends it; KMODSMITH_E2E_NAME=other runs one beside it"
        )
    end_world()  # what a killed run left
    PLACE.mkdir(mode=0o700)
    data_dir.mkdir(parents=True, exist_ok=True)
    (PLACE / "engine.json").write_text("{}")  # not what this machine says of its own engine
    spaces = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
    command = [
        *([] if stays else ["setpriv", "--pdeathsig", "KILL", "--"]),
        "unshare",
        *spaces,
        sys.executable,
        str(_HERE / "init.py"),
    ]
    with (PLACE / "dockerd.log").open("wb") as log, Path("/proc/self/ns/net").open("rb") as network:
        outer = subprocess.Popen(
            [*command, *_engine(data_dir)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            pass_fds=[network.fileno()],
        )  # fmt: skip
        outside = network.fileno()
    _OURS[outer.pid] = outer
    state = {"outer": outer.pid, "began": _began(outer.pid), "data_dir": str(data_dir), "outside": outside}
    (PLACE / "state.json").write_text(json.dumps(state))
    try:
        world = _wait(outer, data_dir, outside)
    except BaseException:
        end_world()
        raise
    _forget_containers(world)
    return world


def _engine(data_dir: Path) -> list[str]:
    # Each container engine needs its own; what Debian starts, or a user runs, is not touched.
    return [
        "dockerd",
        f"--host=unix://{PLACE}/docker.sock",
        f"--data-root={data_dir}",
        f"--exec-root={PLACE}/exec",
        f"--pidfile={PLACE}/dockerd.pid",
        f"--config-file={PLACE}/engine.json",
        f"--cgroup-parent={_NAME}",
        f"--add-runtime=wrapped={_HERE / 'runc_wrap.py'}",
        "--default-runtime=wrapped",
        "--storage-driver=overlay2",
    ]


def _wait(outer: subprocess.Popen[bytes], data_dir: Path, outside: int) -> World:
    end = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < end and outer.poll() is None:
        if init := _child_of(outer.pid):
            world = World(outer=outer.pid, init=init, data_dir=data_dir, outside=outside)
            if (PLACE / "docker.sock").exists() and world.run("docker", "version", check=False).returncode == 0:
                return world
        time.sleep(0.2)
    raise WorldError(f"the container engine does not start: {(PLACE / 'dockerd.log').read_text()[-3000:]}")


def _forget_containers(world: World) -> None:
    """The engine remembers containers, volumes and networks of a world that has ended; images are what is kept."""
    if left := world.docker("ps", "--all", "--quiet").split():
        world.docker("rm", "--force", "--volumes", *left)
    world.docker("volume", "prune", "--force")
    world.docker("network", "prune", "--force")


def find_world() -> World | None:
    """Return the world that runs on this machine; one that has ended is none."""
    try:
        state = json.loads((PLACE / "state.json").read_text())
        outer, data_dir, outside = int(state["outer"]), Path(state["data_dir"]), int(state["outside"])
        began = state["began"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # none, or of one that was killed while it wrote
        return None
    init = _child_of(outer)
    if _began(outer) != began or init is None:
        return None
    return World(outer=outer, init=init, data_dir=data_dir, outside=outside)


def enter(world: World) -> dict[str, str]:
    """Return the environment that tells a program that it was started inside of the world, and the way out."""
    inside = replace(world, init=1, is_around_us=True)
    return {_INSIDE: "1", BEYOND: shlex.join(inside.beyond())}


def world_around_us() -> World | None:
    """Return the world that this process is in; its own first process is the first of all that can be seen."""
    if _INSIDE not in os.environ:
        return None
    state = json.loads((PLACE / "state.json").read_text())
    return World(
        outer=0, init=1, data_dir=Path(state["data_dir"]), outside=int(state.get("outside", 0)), is_around_us=True
    )


def end_world() -> None:
    """End the world that runs, and remove what there was of it outside of its namespaces; nothing where none is."""
    if world := find_world():
        with contextlib.suppress(ProcessLookupError):
            os.kill(world.outer, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(world.init, signal.SIGKILL)
        _wait_for_end(world)
    for group in _groups():
        _remove_group(group)
    shutil.rmtree(PLACE, ignore_errors=True)


def _wait_for_end(world: World) -> None:
    end = time.monotonic() + _ENDS_WITHIN_S
    while time.monotonic() < end:
        if (child := _OURS.get(world.outer)) and child.poll() is not None:
            del _OURS[world.outer]
        if not Path(f"/proc/{world.init}").exists() and (_began(world.outer) == 0):
            return
        time.sleep(0.1)
    raise WorldError(f"the world does not end: {world}")


def _groups() -> list[Path]:
    """Return our control groups: an engine makes them below its own, so that limits of whoever started it hold."""
    return [Path(path, _NAME) for path, names, _ in os.walk(_CGROUPS) if _NAME in names]


def _remove_group(group: Path) -> None:
    folders = sorted((Path(path) for path, _, _ in os.walk(group)), key=lambda path: len(path.parts), reverse=True)
    for folder in folders:
        for attempt in range(50):
            try:
                folder.rmdir()
            except OSError:  # the kernel takes a moment to let go of what has ended
                if attempt == 49:
                    raise
                time.sleep(0.1)
            else:
                break


def _child_of(pid: int) -> int | None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(words[1]) == pid and words[0] != "Z":
                    return int(entry.name)
    return None


def _began(pid: int) -> int:
    """Return when a process began, which tells it from another with its number; 0 where it is none, or has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if words[0] == "Z" else int(words[19])
