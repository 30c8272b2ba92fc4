"""The machine's memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.host.memory import available_memory


@pytest.mark.parametrize(
    ("text", "size"), [("MemTotal: 9 kB\nMemAvailable:    2048 kB\n", 2**21), ("MemTotal: 9 kB\n", 0)]
)
def test_the_memory_that_new_programs_can_have(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _self: text)
    assert available_memory() == size
