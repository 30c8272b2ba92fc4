"""Processor time that work took: of the thread that does it, and of the processes that it starts and waits for."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_meters = threading.local()
# proc(5), stat, counted behind the name of the program: own time (user, system), and that of those it waited for.
_TIMES = slice(11, 15)


class Meter:
    """Processor seconds that were spent so far; what other threads do for this one is not in it."""

    def __init__(self) -> None:
        self._began = time.thread_time()
        self._of_processes = 0.0

    def add(self, seconds: float) -> None:
        self._of_processes += seconds

    def read(self) -> float:
        """Return the seconds; call it in the thread that is measured."""
        return self._of_processes + time.thread_time() - self._began


@contextlib.contextmanager
def measure() -> Iterator[Meter]:
    """Measure what the calling thread does in the block."""
    meter = Meter()
    running = _running()
    running.append(meter)
    try:
        yield meter
    finally:
        running.remove(meter)


def note_process(seconds: float) -> None:
    """Count a process that ended for whatever the calling thread measures."""
    for meter in _running():
        meter.add(seconds)


def _running() -> list[Meter]:
    found: list[Meter] | None = getattr(_meters, "running", None)
    if found is None:
        found = _meters.running = []
    return found


def time_of_process(pid: int) -> float:
    """Return the processor seconds of a process, and of all below it that it waited for; 0 where it is gone.

    One that has ended is there until somebody waits for it.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return sum(int(field) for field in fields[_TIMES]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return 0.0
