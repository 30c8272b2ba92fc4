from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

import pytest
from fakes.samples import Sample

from builder.errors import FormatError
from builder.sources.kernels import in_tree_of_folder, keep_files, order_by_dependency, order_in_tree

if TYPE_CHECKING:
    from pathlib import Path


def test_modules_come_after_what_they_depend_on() -> None:
    depends = {"a": ("b", "kernel_own"), "b": ("c",), "c": (), "x": ("y",), "y": ("x",)}
    order = order_by_dependency(depends)
    assert [name for name in order if name in "abc"] == ["c", "b", "a"]
    assert sorted(order) == sorted(depends)


def test_the_kernels_own_modules_are_found_with_all_they_need() -> None:
    files = {name: Sample(name=name, depends=depends).write() for name, depends in
        {"crc_itu_t": "", "crc7": "crc-itu-t,built_in"}.items()}  # fmt: skip

    def find(wanted: frozenset[str]) -> dict[str, bytes]:
        packed = {name: lzma.compress(data, check=lzma.CHECK_CRC32) for name, data in files.items() if name in wanted}
        return {f"usr/lib/modules/k/kernel/lib/{name.replace('_', '-')}.ko.xz": data for name, data in packed.items()}

    assert order_in_tree(["crc7"], find) == [("crc_itu_t", files["crc_itu_t"]), ("crc7", files["crc7"])]
    assert order_in_tree([], find) == []


def test_modules_of_a_folder_come_by_the_kernels_name_for_them(tmp_path: Path) -> None:
    (tmp_path / "crc-itu-t.ko").write_bytes(Sample(name="crc_itu_t").write())
    (tmp_path / "vmlinuz").write_bytes(b"kernel")
    assert [name for name, _ in in_tree_of_folder(tmp_path, ["crc_itu_t", "built_in"])] == ["crc_itu_t"]


def test_what_is_no_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.ko").write_bytes(b"x")
    with pytest.raises(FormatError):
        in_tree_of_folder(tmp_path, ["bad"])


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        keep_files({"vmlinuz": b"kernel", "no/such/folder": b""}, tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
    keep_files({"vmlinuz": b"kernel"}, tmp_path / "kept")
    assert [file.name for file in tmp_path.rglob("*")] == ["kept", "vmlinuz"]
