"""Files that are replaced."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from builder.host.places import replace_file

if TYPE_CHECKING:
    from pathlib import Path


def test_a_link_under_a_guessed_name_is_not_written_through(tmp_path: Path) -> None:
    file, victim = tmp_path / "demo.ko", tmp_path / "victim"
    file.write_bytes(b"old")
    file.chmod(0o640)
    victim.write_text("mine")
    (tmp_path / f".demo.ko.{os.getpid()}").symlink_to(victim)
    replace_file(file, b"new", mode=0o640)
    assert (file.read_bytes(), file.stat().st_mode & 0o777, victim.read_text()) == (b"new", 0o640, "mine")
