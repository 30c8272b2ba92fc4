"""Key files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes.key_holder import ask_holder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("hello")
    file.chmod(0o600)
    (answer,) = ask_holder("key_file", str(file))
    assert (answer["error"], str(file) in answer["message"]) == ("key-unreadable", True)
