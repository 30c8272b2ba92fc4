"""Locks between processes: one build at a time in a project, no clean-up of a store that another run uses.

What is locked is what would be hurt: the store's own folder, so that runs with another HOME, cache or project see it.

The kernel drops an flock when its holder dies, so a killed run never leaves a stale lock behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import AwareDatetime, Field

from builder.errors import BusyError, FormatError, HostError
from builder.foreign import Parsed, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedRandom
    from pathlib import Path

# A work folder can come with a checkout: nothing in it is followed, waited for, or read without an end.
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LARGEST_HOLDER = 4096


class _Holder(Parsed):
    """Who holds a project, as it wrote down."""

    pid: Annotated[int, Field(strict=True, gt=0, lt=2**31)]
    since: AwareDatetime


@contextlib.contextmanager
def hold_project(work_dir: Path) -> Iterator[None]:
    """Hold a project's build lock.

    Raises:
        BusyError: another process holds it; the message says which and since when.
        HostError: the lock is something else than a file.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    with _open_own(work_dir / "lock") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"another run is at work in {work_dir.parent}: {_read_holder(stream)}",
                hint="wait for it; or give this run its own folder with --work-dir",
            ) from None
        stream.truncate(0)
        told = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        stream.write(json.dumps(told).encode())
        stream.flush()
        yield


@contextlib.contextmanager
def share_store(graph_root: Path, clean_up: Callable[[], None] | None = None) -> Iterator[None]:
    """Join the users of a container store; who finds it unused calls ``clean_up`` before others may join.

    Raises:
        HostError: the store's folder cannot be locked.
    """
    with _open_folder(graph_root) as folder:
        if clean_up is not None and _lock(folder, graph_root, fcntl.LOCK_EX | fcntl.LOCK_NB):
            clean_up()
        _lock(folder, graph_root, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def own_store(graph_root: Path) -> Iterator[None]:
    """Have a container store alone, to take away what others could need.

    Raises:
        BusyError: somebody uses it.
        HostError: the store's folder cannot be locked.
    """
    with _open_folder(graph_root) as folder:
        if not _lock(folder, graph_root, fcntl.LOCK_EX | fcntl.LOCK_NB):
            raise BusyError(
                f"another run uses the container store in {graph_root}, for this project or another one",
                hint="run it again when that is done",
            )
        yield


@contextlib.contextmanager
def hold_lock_file(file: Path) -> Iterator[None]:
    """Be the only one who reads, changes and writes versions.lock.yaml, whatever work folders others use.

    Raises:
        BusyError: another process does.
        HostError: its folder cannot be locked.
    """
    with _open_folder(file.parent) as folder:
        if not _lock(folder, file.parent, fcntl.LOCK_EX | fcntl.LOCK_NB):
            raise BusyError(f"another run is asking the kernel sources, and will write {file}", hint="wait for it")
        yield


@contextlib.contextmanager
def _open_folder(folder: Path) -> Iterator[int]:
    """Open a folder to lock the folder itself: no file in it is needed, so it may be read-only or somebody else's."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"{folder} cannot be locked: {error.strerror}", hint="it must be readable") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, operation: int) -> bool:
    """Lock a folder; returns False where it is not to be waited for and somebody else has it."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError as error:  # flock(2) over a network's file system
        raise HostError(f"{folder} cannot be locked: {error.strerror}", hint="put it onto a local disk") from None
    return True


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other threads and processes from making the same folder; it need not be there yet."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _open_own(file: Path) -> BufferedRandom:
    """Open a file that is written to: a link in its place would have another file emptied."""
    try:
        descriptor = os.open(file, _OPEN, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _no_lock(file) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_lock(file)
    return os.fdopen(descriptor, "r+b")


def _no_lock(file: Path) -> HostError:
    return HostError(f"{file} is no regular file, so it cannot be the lock of a project", hint="remove it")


def _read_holder(stream: BufferedRandom) -> str:
    try:
        holder = parse_json(_Holder, stream.read(_LARGEST_HOLDER), "holder of a lock")
    except (OSError, FormatError):
        return "its process could not be read"
    return f"process {holder.pid}, since {holder.since.isoformat()}"
