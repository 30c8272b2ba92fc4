"""Modules where their kernel looks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes.results import KERNEL, ROOT, leave_result

from builder.build.arrange import move_modules
from builder.kernel import parse_kernel_version
from builder.store.result import File, Link
from builder.store.result_folder import read_result

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_modules_move_with_the_link_to_the_nodes_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.build.arrange.make_depmod_data", lambda *_: {"modules.dep": b"new"})
    moved = move_modules(
        read_result(leave_result(tmp_path / "out")),
        parse_kernel_version(KERNEL),
        parse_kernel_version("6.1.0-11-amd64"),
    )
    root = "opt/lib/modules/6.1.0-11-amd64"
    assert moved.entries[f"{root}/host"] == Link("/lib/modules/6.1.0-11-amd64")
    assert moved.entries[f"{root}/modules.dep"] == File(b"new")
    assert ROOT not in moved.entries
