"""What one compile may use. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one compile may use."""

    memory_bytes: int
    processes: int
    disk_bytes: int
