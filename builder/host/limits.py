"""Bounds for what a compile may use: memory and processes by the kernel, disk by looking.

The kernel's control groups (cgroups(7)) are reached in one of two ways, whichever works here: by systemd, which owns
the tree of version 2 on every machine that runs it; or directly, where this process may make groups. Where neither
works, as in most pods, resource limits of single processes remain, and the pod's own limits.
"""

from __future__ import annotations

import itertools
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from builder.errors import FailureClass
from builder.host.bounds import Limits
from builder.host.run import Command, find_tool, run

if TYPE_CHECKING:
    from collections.abc import Iterable


_MIB = 1024**2
_GROUPS = Path("/sys/fs/cgroup")
# Joins groups, then becomes the command: what it starts is born inside.
_JOIN = 'while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@"'
_MOST_FILES = 2_000_000
# Looks are half a second apart: ten seconds.
_COUNTS_EVERY = 20
# The loudest kernel builds print some MiB.
_MOST_PRINTED = 256 * _MIB
# Below this much free disk nothing else on the machine works any more.
_RESERVE_BYTES = 256 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitHit:
    """Which bound a compile ran into; ``code`` is a failure's."""

    failure_class: FailureClass
    code: str
    sentence: str


class ControlGroup(Protocol):
    """Control groups of one compile."""

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words that start a command inside."""
        ...

    def hits(self) -> frozenset[str]:
        """Return which of ``memory`` and ``processes`` ran out, as far as the kernel tells."""
        ...

    def close(self) -> None: ...


class Grouping(Protocol):
    """A way to make control groups on this machine; ``name`` is for people."""

    @property
    def name(self) -> str: ...

    def make(self, limits: Limits) -> ControlGroup: ...


class _Folders:
    """Control groups made by hand, of version 1 or 2."""

    def __init__(self, files: dict[Path, dict[str, str]], events: dict[str, tuple[Path, str]]) -> None:
        self._folders: list[Path] = []
        self._events = events
        try:
            for folder, values in files.items():
                folder.mkdir()
                self._folders.append(folder)
                for name, value in values.items():
                    (folder / name).write_text(value)
        except OSError:
            self.close()
            raise

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("sh", "-c", _JOIN, "join", *map(str, self._folders), "--")

    def hits(self) -> frozenset[str]:
        return frozenset(kind for kind, (file, event) in self._events.items() if _read_event(file, event) > 0)

    def close(self) -> None:
        for folder in self._folders:
            try:
                folder.rmdir()
            except OSError:  # something in it is still dying; an empty group costs nothing
                continue


def _new_name() -> str:
    # Our pid is not enough: pids come again, containers that share this tree count their own, and a group whose last
    # process was still dying when its compile ended stays behind.
    return f"kmodsmith-{os.getpid()}-{secrets.token_hex(6)}"


def _read_event(file: Path, event: str) -> int:
    try:
        words = file.read_text().split()
        return int(words[words.index(event) + 1])
    except (OSError, ValueError, IndexError):
        return 0


@dataclass(frozen=True, slots=True)
class _Version1:
    """Groups below our own of the hierarchies ``memory`` and ``pids``."""

    memory: Path
    pids: Path

    @property
    def name(self) -> str:
        return "control groups (version 1)"

    def make(self, limits: Limits) -> ControlGroup:
        name = _new_name()
        memory, pids = self.memory / name, self.pids / name
        files = {
            memory: {"memory.limit_in_bytes": str(limits.memory_bytes)},
            pids: {"pids.max": str(limits.processes)},
        }
        events = {"memory": (memory / "memory.oom_control", "oom_kill"), "processes": (pids / "pids.events", "max")}
        return _Folders(files, events)


@dataclass(frozen=True, slots=True)
class _Version2:
    """Groups below a folder of the one hierarchy that hands its controllers down."""

    parent: Path

    @property
    def name(self) -> str:
        return "control groups (version 2)"

    def make(self, limits: Limits) -> ControlGroup:
        folder = self.parent / _new_name()
        values = {"memory.max": str(limits.memory_bytes), "pids.max": str(limits.processes), "memory.oom.group": "1"}
        events = {"memory": (folder / "memory.events", "oom_kill"), "processes": (folder / "pids.events", "max")}
        return _Folders({folder: values}, events)


@dataclass(frozen=True, slots=True)
class _Scope:
    """A scope of systemd; it is gone with the compile, so what it ran into is not told."""

    prefix: tuple[str, ...]

    def hits(self) -> frozenset[str]:
        return frozenset()

    def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Systemd:
    """systemd makes the groups: the system's manager for root, the user's for others."""

    is_root: bool

    @property
    def name(self) -> str:
        return "control groups (systemd)"

    def make(self, limits: Limits) -> ControlGroup:
        manager = () if self.is_root else ("--user",)
        bounds = (
            f"MemoryMax={limits.memory_bytes}", "MemorySwapMax=0", f"TasksMax={limits.processes}", "OOMPolicy=kill",
        )  # fmt: skip
        properties = itertools.chain.from_iterable(("--property", bound) for bound in bounds)
        return _Scope(("systemd-run", *manager, "--scope", "--quiet", "--collect", *properties, "--"))


def find_grouping() -> Grouping | None:
    """Return a way to make control groups that was seen to work here just now, or None."""
    smallest = Limits(memory_bytes=256 * _MIB, processes=16, disk_bytes=0)
    for grouping in _candidates():
        try:
            group = grouping.make(smallest)
        except OSError:
            continue
        works = bool(run(Command(argv=(*group.prefix, "true"), timeout_s=20.0)))
        group.close()
        if works:
            return grouping
    return None


def _candidates() -> Iterable[Grouping]:
    own = dict(_own_groups())
    if Path("/run/systemd/system").is_dir() and find_tool("systemd-run"):
        yield _Systemd(is_root=os.geteuid() == 0)
    if "memory" in own and "pids" in own:
        yield _Version1(memory=own["memory"], pids=own["pids"])
    if "" in own and _hands_down(own[""]):
        yield _Version2(parent=own[""])


def _own_groups() -> Iterable[tuple[str, Path]]:
    """Return the folder of this process in each hierarchy, the unnamed one being version 2 (cgroups(7))."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            mount = _GROUPS / controller if controller else _GROUPS
            inside = mount / path.lstrip("/")
            # Where a container sees the tree of its host, the path leads nowhere: then the mount is our group.
            yield controller, inside if inside.is_dir() else mount


def _hands_down(parent: Path) -> bool:
    try:
        (parent / "cgroup.subtree_control").write_text("+memory +pids")
    except OSError:
        return False
    return True


class DiskWatch:
    """Looks now and then at what a compile has on disk.

    Counting files costs; free space costs nothing to ask. So they are counted where so much more of the file system is
    used than at any time since the start that the compile could be the reason; and every few seconds all the same,
    because what others give back meanwhile hides what this one takes.
    """

    def __init__(self, folders: Iterable[Path], limit_bytes: int) -> None:
        self._folders = tuple(folders)
        self._limit = limit_bytes
        usage = os.statvfs(self._folders[0])
        self._free_bytes = usage.f_bavail * usage.f_frsize
        self._free_files = usage.f_favail
        self._looks = 0
        self.hit: LimitHit | None = None

    def look(self, log: Path | None = None) -> str:
        """Return why the compile has to stop, or nothing; ``log`` is the file that gets what it prints."""
        usage = os.statvfs(self._folders[0])
        free = usage.f_bavail * usage.f_frsize
        self._free_bytes = max(self._free_bytes, free)
        self._free_files = max(self._free_files, usage.f_favail)
        self._looks += 1
        used, files = self._free_bytes - free, self._free_files - usage.f_favail
        if used > self._limit or files > _MOST_FILES or self._looks % _COUNTS_EVERY == 0:
            self._count()
        if log is not None and log.exists() and log.stat().st_size > _MOST_PRINTED:
            sentence = f"it printed more than {_MOST_PRINTED // _MIB} MiB"
            self.hit = LimitHit(failure_class=FailureClass.COMPILE, code="output-limit", sentence=sentence)
        elif self.hit is None and free < _RESERVE_BYTES <= self._free_bytes:
            sentence = f"only {free // _MIB} MiB of disk are left at {self._folders[0]}"
            self.hit = LimitHit(failure_class=FailureClass.INFRASTRUCTURE, code="disk-full", sentence=sentence)
        return self.hit.sentence if self.hit else ""

    def _count(self) -> None:
        used, files = self._sum("--block-size=1"), self._sum("--inodes")
        if used > self._limit or files > _MOST_FILES:
            sentence = f"it wrote {used // _MIB} MiB in {files} files; {self._limit // _MIB} MiB are allowed"
            self.hit = LimitHit(failure_class=FailureClass.COMPILE, code="disk-limit", sentence=sentence)

    def _sum(self, unit: str) -> int:
        """Add up with du(1), which also walks trees that are deeper than Python's stack."""
        printed = run(Command(argv=("du", "--summarize", unit, "--", *map(str, self._folders)))).stdout
        return sum(int(line.split()[0]) for line in printed.splitlines() if line[:1].isdigit())
