"""One difference between two answers of a kernel source, as people read it. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two answers of a source: its kind, what it is about, and what is to be said of it."""

    kind: str
    subject: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}{f': {self.detail}' if self.detail else ''}"
