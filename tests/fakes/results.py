"""What a compile leaves behind, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from builder.errors import CellError, FailureClass

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KERNEL = "6.1.0-10-amd64"
ROOT = f"opt/lib/modules/{KERNEL}"
MODULE = f"{ROOT}/extra/demo.ko"


def leave_result(folder: Path) -> Path:
    """Leave what an honest build leaves behind."""
    (folder / ROOT / "extra").mkdir(parents=True)
    (folder / MODULE).write_bytes(b"\x7fELF")
    (folder / ROOT / "host").symlink_to(f"/lib/modules/{KERNEL}")
    (folder / "firmware" / "sub").mkdir(parents=True)
    (folder / "firmware" / "sub" / "a.bin").write_bytes(b"a")
    (folder / "firmware" / "b.bin").symlink_to("sub/a.bin")
    (folder / "licenses").mkdir()
    (folder / "licenses" / "LICENSE").write_bytes(b"GPL")
    (folder / "licenses" / "COPYING").symlink_to("./LICENSE")
    return folder


def refusal_of(function: Callable[[], object]) -> str:
    """Return the code with which a compile is refused, in one line."""
    with pytest.raises(CellError) as caught:
        function()
    assert caught.value.failure.failure_class is FailureClass.COMPILE
    assert "\n" not in caught.value.message
    return caught.value.failure.code
