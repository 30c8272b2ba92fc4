"""Programs on PATH that only say how they were called."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class FakeTools:
    """Executables on PATH that record how they were called; nothing else is on PATH but what they need."""

    folder: Path

    def add(self, name: str, script: str = "exit 0") -> None:
        file = self.folder / name
        calls = self.folder / f"{name}.calls"
        # One write for a call: several threads call at once.
        record = f'line=; for word in "$@"; do line="$line$word\x1f"; done; echo "$line" >>"{calls}"; unset line word'
        file.unlink(missing_ok=True)  # it may be a link to the machine's own program, which must not be written through
        file.write_text(f"#!/bin/sh\n{record}\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def calls(self, name: str) -> list[list[str]]:
        file = self.folder / f"{name}.calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.split("\x1f")[:-1] for line in lines]
