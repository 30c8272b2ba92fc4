"""Modules where their kernel looks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.results import KERNEL, MODULE, ROOT, leave_result

from builder.build.arrange import compress_modules, move_modules
from builder.errors import CellError
from builder.kernel import parse_kernel_version
from builder.store.result import File, Link
from builder.store.result_folder import read_result

if TYPE_CHECKING:
    from pathlib import Path


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


def test_modules_are_compressed_with_what_depmod_says_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def make(modules: object, *_: object) -> dict[str, bytes]:
        given.append(modules)
        return {"modules.dep": b"new"}

    monkeypatch.setattr("builder.build.arrange.make_depmod_data", make)
    packed = compress_modules(read_result(leave_result(tmp_path / "out")), parse_kernel_version(KERNEL), "xz")
    assert [path for path, _ in packed.modules()] == [f"{MODULE}.xz"]
    assert given == [{"extra/demo.ko.xz": packed.modules()[0][1]}]


def test_data_that_covers_the_kernel_cannot_be_made_anew(tmp_path: Path) -> None:
    left = leave_result(tmp_path / "out")
    (left / ROOT / "modules.dep").write_text("extra/demo.ko:\nhost/kernel/x.ko:\n")
    with pytest.raises(CellError, match="covers the kernel's own modules"):
        compress_modules(read_result(left), parse_kernel_version(KERNEL), "xz")
