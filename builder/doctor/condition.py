"""One thing that was looked at, and how it is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that was looked at."""

    name: str
    status: State
    message: str
    remedy: str = ""

    @property
    def is_fine(self) -> bool:
        return self.status in {State.OK, State.WARN}

    def __str__(self) -> str:
        return f"{self.status:<8} {self.name}: {self.message}{f' -> {self.remedy}' if self.remedy else ''}"
