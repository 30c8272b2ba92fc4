"""Files of lines on disks that fill up, and after kills."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from fakes.full_disk import room, tear

from builder.host.line_file import LineFile, Torn

if TYPE_CHECKING:
    from pathlib import Path


def test_a_line_that_the_disk_takes_in_parts_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:3])))
    lines = LineFile(tmp_path / "lines")
    lines.append(b"one and more")
    lines.append(b"two")
    assert lines.read() == [b"one and more", b"two"]


@pytest.mark.parametrize("more", [0, 1, 40])
def test_a_line_for_which_there_is_no_room_leaves_nothing(tmp_path: Path, more: int) -> None:
    file = tmp_path / "lines"
    LineFile(file).append(b"one")
    with room(file, more), pytest.raises(OSError, match="File too large") as caught:
        LineFile(file).append(b"x" * 50)
    assert (file.read_bytes(), caught.value.filename) == (b"one\n", str(file))


def test_a_torn_line_is_set_aside_once_and_no_whole_one_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = LineFile(tmp_path / "lines")
    assert lines.set_torn_aside() is None
    lines.append(b"one")
    assert lines.set_torn_aside() is None
    tear(tmp_path / "lines", monkeypatch, lambda: lines.append(b"x" * 50))
    assert lines.set_torn_aside() == Torn(hashlib.sha256(b"x" * 40).hexdigest(), 40)
    assert lines.set_torn_aside() is None
    assert (lines.read(), LineFile(tmp_path / "lines.torn").read()) == ([b"one"], [b"x" * 40])
