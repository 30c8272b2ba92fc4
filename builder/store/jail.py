"""Where what a driver brings is run: a room of its own that holds nothing of this machine but the compile's inputs.

Three walls, one inside the other. **A room**: bubblewrap makes new namespaces (mounts, processes, network, IPC, host
name) with a root folder that holds the machine's programs (read-only), a private ``/dev``, ``/proc`` and ``/tmp``, the
container store (read-only), and a scratch store that is thrown away. **A container**: buildah runs each RUN in it, in a
user namespace of its own, with no capability that leaves a root folder. **Limits** of memory, processes, disk and time.
Whoever gets out of the container stands in the room, and may spoil a scratch store that nobody reads again.

In a pod that may not make namespaces, the pod has to be the room. That is never assumed:
``KMODSMITH_JAIL=pod`` says it.
docs/security.md tells what holds, and against whom.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import CellError, CommandError, FailureClass, HostError, UsageError
from builder.host.limits import DiskWatch, find_grouping
from builder.host.run import Command, find_tool, kill_processes, run
from builder.host.seccomp import jail_filter
from builder.store.cached_compiler import KNOWN, NEW, OWN
from builder.store.images import find_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.host.bounds import Limits
    from builder.host.limits import ControlGroup, Grouping
    from builder.store.images import Store

_VARIABLE = "KMODSMITH_JAIL"
# Programs and what they load; where one of these is a link, the same link is made.
_PROGRAMS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
_DIES_WITH_US = "--die-with-parent"
_SHARED_MEMORY_BYTES = 64 * 1024**2
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Nothing is pulled in a room, so there is nothing to check.
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}\n'
# buildah looks up both of its users: root of its namespace, and who stands behind that.
_ETC = {
    "containers/policy.json": _POLICY,
    "passwd": f"root:x:0:0:root:/tmp:/bin/sh\nbuilder:x:{os.getuid() or 1}:{os.getgid() or 1}::/tmp:/bin/sh\n",
    "group": "root:x:0:\n",
}
_USERS = (Path("/etc/passwd"), Path("/etc/group"))
_ROOM_PREFIX = "kmodsmith-room-"
_CACHE_FOLDERS = {KNOWN: "cache-known", NEW: "cache-new", OWN: "cache-own"}
_VIEW = "below"
# They count inside of the container's user namespace only. Without them a root that compiles cannot do what every root
# does: change owners, write into read-only files.
_CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID")
_MAPPED_USERS = 65536
_LAST_WORDS = "'nox -s doctor' tells more; docs/security.md has what a pod needs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or folder of the host, and where it is inside of a room."""

    host: Path
    inside: str
    is_writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """What this machine lets us build."""

    has_room: bool
    users: tuple[tuple[int, int], ...]
    """The ranges of user ids, as first and count, that a container's own user namespace gets; none: it gets no such."""
    groups: tuple[tuple[int, int], ...]
    grouping: Grouping | None

    def __str__(self) -> str:
        room = "a room of its own (bubblewrap)" if self.has_room else f"this pod alone ({_VARIABLE}=pod)"
        users = "" if self.users else ", without a user namespace"
        bounds = self.grouping.name if self.grouping else "limits of single processes: no control groups here"
        return f"{room}{users}, {bounds}"


class Jail:
    """How compiles are locked up on this machine; the same for a whole run. Safe to use from several threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._guard = threading.Lock()

    @property
    def walls(self) -> Walls:
        """What surrounds a compile here; found out once.

        Raises:
            HostError: this machine lets us build no room, and nobody said that the pod is one.
        """
        with self._guard:
            return self._walls

    @cached_property
    def _walls(self) -> Walls:
        return find_walls()

    @cached_property
    def _store(self) -> Store:
        return find_store()

    @contextlib.contextmanager
    def open_room(self) -> Iterator[Room]:
        """Make a room with an empty scratch store on top of the container store; it is gone with the block.

        Raises:
            HostError: this machine does not allow it, or its disk does not take it.
        """
        walls = self.walls
        folder = _make_room(self._store.graph_root)
        with contextlib.ExitStack() as held:
            held.callback(remove_room, folder)
            group = _make_group(walls.grouping, self._limits)
            if group is not None:
                held.callback(group.close)
            yield Room(folder, self._store, self._limits, walls, group)

    def on_store(self, argv: Sequence[str], mounts: Sequence[Mount]) -> tuple[str, ...]:
        """Return the words that run buildah on the container store itself, with nothing else of the host but mounts."""
        if not self.walls.has_room:
            return (*_own_users(), *argv)
        own = [Mount(host=folder, inside=str(folder), is_writable=True) for folder in self._store.folders]
        settings = [Mount(host=file, inside=str(file)) for file in (*_USERS, *self._store.settings)]
        return (*_own_users(), *_bubblewrap([*own, *settings, *mounts]), *argv)

    def locate(self, mount: Mount) -> str:
        """Return the path by which a place is reached inside."""
        return mount.inside if self.walls.has_room else str(mount.host)


class Room:
    """One compile's room: encloses what buildah is to do, and knows afterwards which limit stopped it."""

    def __init__(self, folder: Path, store: Store, limits: Limits, walls: Walls, group: ControlGroup | None) -> None:
        self._folder = folder
        self._store = store
        self._limits = limits
        self._walls = walls
        self._group = group
        written = [folder / "graph", self.results, folder / "home", *self.cache.values()]
        self._watch = DiskWatch(written, limits.disk_bytes)
        _write_settings(folder, store.driver, self.locate(self._scratch))
        _make_view(folder / _VIEW, store, self.locate(self._below))

    @property
    def _scratch(self) -> Mount:
        return Mount(host=self._folder, inside="/room", is_writable=True)

    @property
    def _below(self) -> Mount:
        return Mount(host=self._store.graph_root, inside="/store")

    @property
    def results(self) -> Path:
        """The folder of the host which the compile fills: hostile from then on."""
        return self._folder / "out"

    @property
    def results_inside(self) -> str:
        return f"{self.locate(self._scratch)}/out"

    @property
    def cache(self) -> Mapping[str, Path]:
        """Folders of the host that a compile's ccache reads and fills, by their places in its container."""
        return {place: self._folder / name for place, name in _CACHE_FOLDERS.items()}

    @property
    def cache_volumes(self) -> tuple[str, ...]:
        """Those folders as ``--volume`` of buildah wants them."""
        room = self.locate(self._scratch)
        return tuple(f"{room}/{name}:{place}" for place, name in _CACHE_FOLDERS.items())

    def locate(self, mount: Mount) -> str:
        """Return the path by which a place is reached inside."""
        return mount.inside if self._walls.has_room else str(mount.host)

    def confinement(self) -> tuple[str, ...]:
        """Return the options of ``buildah build`` that confine each RUN."""
        words = ["--isolation", "chroot", "--http-proxy=false", "--cap-drop", "all"]
        if self._walls.users:
            words += [word for name in _CAPABILITIES for word in ("--cap-add", name)]
            for kind, ranges in (("uid", self._walls.users), ("gid", self._walls.groups)):
                words += [
                    word for first, count in ranges for word in (f"--userns-{kind}-map", f"{first}:{first}:{count}")
                ]
        bounds = {"core": 0, "nproc": self._limits.processes, "fsize": self._limits.disk_bytes}
        if self._group is None:
            bounds["data"] = self._limits.memory_bytes
        return (*words, *(word for name, value in bounds.items() for word in ("--ulimit", f"{name}={value}:{value}")))

    def command(
        self, argv: Sequence[str], mounts: Sequence[Mount], *, environment: Mapping[str, str], log_file: Path | None,
        timeout_s: float,
    ) -> Command:  # fmt: skip
        """Return a command of buildah, inside; of the environment it gets nothing but what is given."""
        room = self.locate(self._scratch)
        given = {
            "PATH": _PATH, "HOME": f"{room}/home", "TMPDIR": f"{room}/home", "LANG": "C.UTF-8",
            "CONTAINERS_STORAGE_CONF": f"{room}/storage.conf", **_namespace_variables(), **environment,
        }  # fmt: skip
        inner = ("env", "-i", *(f"{name}={value}" for name, value in given.items()), *argv)
        return Command(
            argv=(*(self._group.prefix if self._group else ()), *_own_users(), *self._enclose(inner, mounts)),
            log_file=log_file,
            timeout_s=timeout_s,
            watch=partial(self._watch.look, log_file),
            shown=tuple(argv),
        )

    def raise_limit(self) -> None:
        """Say which limit the compile ran into, if any; to be called when it failed.

        Raises:
            CellError: the limit; its class is the driver's, unless the disk itself ran full.
        """
        if hit := self._watch.hit:
            hint = None if hit.code == "output-limit" else _LIMIT_HINT
            raise CellError(hit.failure_class, hit.code, f"it was stopped: {hit.sentence}", hint=hint)
        sentences = {
            "memory": f"it needed more than {self._limits.memory_bytes >> 20} MiB of memory",
            "processes": f"it started more than {self._limits.processes} processes at once",
        }
        for kind in sorted(self._group.hits() if self._group else ()):
            sentence = f"compile ran into its limits: {sentences[kind]}"
            raise CellError(FailureClass.COMPILE, f"{kind}-limit", sentence, hint=_LIMIT_HINT)

    def _enclose(self, argv: Sequence[str], mounts: Sequence[Mount]) -> tuple[str, ...]:
        if not self._walls.has_room:
            return tuple(argv)
        etc = [Mount(host=self._folder / "etc" / name, inside=f"/etc/{name}") for name in _ETC]
        mounts = [self._scratch, self._below, *etc, *mounts]
        program = self._folder / "filter"
        if not program.stat().st_size:
            return (*_bubblewrap(mounts), *argv)
        return ("sh", "-c", 'exec 9<"$0"; exec "$@"', str(program), *_bubblewrap(mounts, "--seccomp", "9"), *argv)


_LIMIT_HINT = "build.compile_memory, compile_processes and compile_disk of versions.yaml set the limits"


def find_walls() -> Walls:
    """Find out what this machine lets us build around a compile, by building it around ``true``.

    Raises:
        HostError: bubblewrap is missing or may not make namespaces, and nobody said that this pod is the room.
        UsageError: KMODSMITH_JAIL is set to something unknown.
    """
    said = os.environ.get(_VARIABLE, "")
    if said not in {"", "pod"}:
        raise UsageError(f"{_VARIABLE} is {said!r}; the only value is 'pod', for pods that may not make namespaces")
    users, groups = _read_ranges("uid_map"), _read_ranges("gid_map")
    if not _works(*_own_users(), "unshare", "--user", "true"):
        users = groups = ()
    if said == "pod":
        return Walls(has_room=False, users=users, groups=groups, grouping=find_grouping())
    if find_tool("bwrap") is None:
        raise HostError("bwrap is not installed: compiles cannot be locked up", hint=_LAST_WORDS)
    # Killed while its child waits for it, bubblewrap leaves that waiting for ever: this one may run to its end.
    words = (word for word in _bubblewrap([]) if word != _DIES_WITH_US)
    tried = run(Command(argv=(*_own_users(), *words, "true"), timeout_s=30.0, ends_alone=True))
    if not tried:
        reason = tried.stderr.strip() or tried.explain()
        raise HostError(f"compiles cannot be locked up on this machine: {reason}", hint=_LAST_WORDS)
    return Walls(has_room=True, users=users, groups=groups, grouping=find_grouping())


def remove_room(folder: Path) -> None:
    """Remove a room with all that hostile code left in it, however deep and under whichever name.

    A buildah that is killed leaves its store mounted where the pod is the room.
    """
    for place in _mounts_below(folder):
        with contextlib.suppress(HostError):  # without umount the room stays, and nothing else is hurt
            run(Command(argv=("umount", "--lazy", "--", place)))
    # rm(1) follows no link, and trees that are deeper than Python's stack do not stop it.
    run(Command(argv=(*_own_users(), "rm", "--recursive", "--force", "--one-file-system", "--", str(folder))))


def _mounts_below(folder: Path) -> list[str]:
    """Return what is mounted below a folder, the last first (proc_pid_mountinfo(5): octal for white space)."""
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    places = [re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), line.split()[4]) for line in text.splitlines()]
    return [place for place in reversed(places) if place.startswith(f"{folder}/")]


def evict(folder: Path) -> None:
    """Kill whoever is left in a room whose run was killed; the store must be ours.

    The kernel kills bubblewrap with us, but what bubblewrap has just started learns of it only once it is inside.
    """

    def is_tenant(process: Path) -> bool:
        if str(folder).encode() in (process / "cmdline").read_bytes() and (process / "comm").read_text() == "bwrap\n":
            return True
        return f"/{folder.name} " in (process / "mountinfo").read_text(errors="replace")

    kill_processes(is_tenant)


def find_rooms(graph_root: Path) -> list[Path]:
    """Return the rooms below a store; where nobody uses the store, killed runs left them."""
    return sorted(graph_root.glob(f"{_ROOM_PREFIX}*"))


def _make_room(base: Path) -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix=_ROOM_PREFIX, dir=base))
        for name in ("graph", "run", "home", "out", "etc/containers", *_CACHE_FOLDERS.values()):
            (folder / name).mkdir(parents=True)
    except OSError as error:
        raise HostError(f"no room for a compile can be made below {base}: {error.strerror}") from None
    return folder


def _make_group(grouping: Grouping | None, limits: Limits) -> ControlGroup | None:
    try:
        return grouping.make(limits) if grouping else None
    except OSError as error:
        raise HostError(f"no control group for a compile can be made: {error}", hint=_LAST_WORDS) from None


def _write_settings(folder: Path, driver: str, scratch: str) -> None:
    """Tell buildah in a room to write to its scratch store, and to find images in the view of the container store."""
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "{driver}"\ngraphroot = "{scratch}/graph"\nrunroot = "{scratch}/run"\n'
        f'[storage.options]\nadditionalimagestores = ["{scratch}/{_VIEW}"]\n'
    )
    for name, text in _ETC.items():
        (folder / "etc" / name).write_text(text)
    (folder / "filter").write_bytes(jail_filter(os.uname().machine))


def _make_view(view: Path, store: Store, below: str) -> None:
    """Make a folder of links through which a container store is read, with locks of its own.

    buildah locks a store that it writes to in one order, layers before images, and one that it only reads in the other
    (containers/storage, CreateImage and CreateContainer): a compile and a pull waited for each other for ever. Nothing
    has to be locked to read: what lists images and layers is replaced whole, and no run takes away what another uses.

    Args:
        view: the folder.
        store: the container store.
        below: where its graph root is for who reads.
    """
    view.mkdir()
    (view / store.driver).symlink_to(f"{below}/{store.driver}")
    for kind in ("images", "layers"):
        name, lock = f"{store.driver}-{kind}", f"{kind}.lock"
        (view / name).mkdir()
        (view / name / lock).touch()
        with contextlib.suppress(FileNotFoundError), os.scandir(store.graph_root / name) as entries:
            for entry in entries:
                if entry.name != lock:
                    (view / name / entry.name).symlink_to(f"{below}/{name}/{entry.name}")


def _bubblewrap(mounts: Sequence[Mount], *options: str) -> tuple[str, ...]:
    """Return the words that start a program in namespaces of its own, with a root folder of mounts and programs."""
    # As process 1 bubblewrap would wait without capabilities, and so be traceable for whoever runs as the same user.
    words = [
        "bwrap",
        _DIES_WITH_US,
        "--as-pid-1",
        *_NAMESPACES,
        "--cap-add",
        "ALL",
        *options,
        "--ro-bind",
        "/usr",
        "/usr",
    ]
    for name in _PROGRAMS:
        folder = Path("/", name)
        if folder.is_symlink():
            words += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            words += ["--ro-bind", str(folder), str(folder)]
    words += [
        "--proc", "/proc", "--dev", "/dev", "--size", str(_SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm",  # noqa: S108
        "--remount-ro", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/sys", "--remount-ro", "/sys",  # noqa: S108 - its own
        "--dir", "/var/tmp",  # noqa: S108
    ]  # fmt: skip
    for mount in mounts:
        words += ["--bind" if mount.is_writable else "--ro-bind", str(mount.host), mount.inside]
    return (*words, "--")


def _own_users() -> tuple[str, ...]:
    """Return the words that make a plain user root of a user namespace."""
    return () if os.geteuid() == 0 else ("buildah", "unshare", "--")


def _namespace_variables() -> dict[str, str]:
    """Return what tells buildah that it is in a plain user's namespace already (containers/storage, pkg/unshare)."""
    if os.geteuid() == 0:
        return {}
    users = {"_CONTAINERS_ROOTLESS_UID": str(os.getuid()), "_CONTAINERS_ROOTLESS_GID": str(os.getgid())}
    return {"_CONTAINERS_USERNS_CONFIGURED": "done", **users}


def _read_ranges(name: str) -> tuple[tuple[int, int], ...]:
    """Return the ids that there are where buildah runs (user_namespaces(7)), as many as a container needs.

    Each range is kept as it is: the kernel refuses one that spans two of the namespace above it.
    """
    printed = run(Command(argv=(*_own_users(), "cat", f"/proc/self/{name}"), timeout_s=30.0)).check().stdout
    ranges = []
    left = _MAPPED_USERS
    for line in printed.splitlines():
        first, _, count = map(int, line.split())
        ranges.append((first, min(count, left)))
        left -= min(count, left)
    return tuple(item for item in ranges if item[1])


def _works(*argv: str) -> bool:
    try:
        return bool(run(Command(argv=argv, timeout_s=20.0)))
    except (HostError, CommandError):
        return False
