"""The machine's memory, as far as it decides how much runs at once."""

from __future__ import annotations

import re
from pathlib import Path


def available_memory() -> int:
    """Return the bytes that the kernel thinks new programs can have (proc(5), MemAvailable)."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
