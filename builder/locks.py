"""Locks between processes: one build at a time in a project, no clean-up of a store that another build uses.

The kernel drops an flock when its holder dies, so a killed run never leaves a stale lock behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from builder.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def hold_project(work_dir: Path) -> Iterator[None]:
    """Hold a project's build lock.

    Raises:
        BusyError: another process holds it; the message says which and since when.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    file = work_dir / "lock"
    with file.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"another run is building in {work_dir.parent}: {_read_holder(file)}",
                hint="wait for it; or give this run its own folder with --work-dir",
            ) from None
        stream.truncate(0)
        stream.write(json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}))
        stream.flush()
        yield


@contextlib.contextmanager
def share_store(cache_dir: Path, clean_up: Callable[[], None]) -> Iterator[None]:
    """Join the users of the container store; who finds it unused calls ``clean_up`` before others may join."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / "store.lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            clean_up()
        except BlockingIOError:
            pass
        fcntl.flock(stream, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other threads and processes from making the same folder; it need not be there yet."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _read_holder(file: Path) -> str:
    try:
        holder = json.loads(file.read_text())
        return f"process {holder['pid']}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its process could not be read"
