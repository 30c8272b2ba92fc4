"""What a kernel's modules say of themselves, and the file that keeps it."""

from __future__ import annotations

import gzip
import lzma
from typing import TYPE_CHECKING

import pytest
from fakes.samples import Sample
from fakes.signers import certify

from builder.boot.load_order import ModuleFacts, ModuleIndex
from builder.boot.module_index import INDEX_FILE, facts_of, keep_index, make_index, read_facts
from builder.compression import zstd
from builder.errors import FormatError
from builder.kmod.signature import append_signature
from builder.sources.kernels import is_of_modules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_FILES = [
    ("usr/lib/modules/k/kernel/b-c.ko", Sample(name="b_c", modinfo=["license=GPL", "alias=x-*"]).write()),
    ("usr/lib/modules/k/kernel/a.ko", Sample(name="a", depends="b-c", modinfo=["softdep=pre: b-c"]).write()),
    ("usr/lib/modules/k/modules.order", b"kernel/b-c.ko\nkernel/gone.ko\n"),
    ("usr/lib/modules/k/modules.builtin", b"kernel/in-side.ko\n"),
    ("usr/lib/modules/k/modules.builtin.modinfo", b"in_side.alias=some-name\0in_side.license=GPL\0"),
]


def _check(index: ModuleIndex) -> None:
    """Hold that it is the index of ``_FILES``."""
    assert list(index.modules) == ["b_c", "a"]
    assert index.modules["a"] == ModuleFacts(name="a", depends=("b_c",), softdeps=("pre: b-c",))
    assert index.by_alias("x_1") == ["b_c"]
    assert [index.is_built_in(name) for name in ("in-side", "some_name", "GPL", "a")] == [True, True, False, False]


def test_an_index_holds_modules_in_the_kernels_order_and_what_is_built_in() -> None:
    assert all(is_of_modules(path) for path, _ in _FILES)
    _check(make_index(_FILES))
    _check(make_index(reversed(_FILES)))


def test_modules_that_no_order_names_come_last_by_name() -> None:
    files = [(f"kernel/{name}.ko", Sample(name=name).write()) for name in ("z", "m", "a")]
    order = ("modules.order", b"kernel/m.ko\nkernel/m.ko\n\xff\n")
    assert list(make_index([*files, order]).modules) == ["m", "a", "z"]


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress, zstd.compress], ids=["xz", "gz", "zst"])
def test_a_packed_and_signed_module_says_the_same(pack: Callable[[bytes], bytes]) -> None:
    module = Sample(name="inside", depends="b-c,d").write()
    signed = append_signature(module, [(certify(), "sha256", b"signature")])
    suffix = {lzma.compress: "xz", gzip.compress: "gz"}.get(pack, "zst")
    assert read_facts(f"kernel/by-file.ko.{suffix}", pack(signed)) == ModuleFacts(name="by_file", depends=("b_c", "d"))


@pytest.mark.parametrize("content", [b"", b"no module", Sample().write()[:300]])
def test_a_file_that_is_no_module_is_told(content: bytes) -> None:
    with pytest.raises(FormatError):
        make_index([("x.ko", content)])


@pytest.mark.parametrize(
    ("info", "facts"),
    [
        ({}, ModuleFacts(name="m")),
        ({"depends": ("",)}, ModuleFacts(name="m")),
        ({"depends": ("a-b,,c", "d")}, ModuleFacts(name="m", depends=("a_b", "c", "d"))),
        (
            {"alias": ("x-*", "y"), "softdep": ("pre: z",)},
            ModuleFacts(name="m", aliases=("x-*", "y"), softdeps=("pre: z",)),
        ),
    ],
)
def test_facts_are_what_modinfo_says(info: dict[str, tuple[str, ...]], facts: ModuleFacts) -> None:
    assert facts_of("m", info) == facts


class _Making:
    """Makes the index of ``_FILES``, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> ModuleIndex:
        self.count += 1
        return make_index(_FILES)


def test_an_index_is_made_once(tmp_path: Path) -> None:
    make = _Making()
    for _ in range(3):
        _check(keep_index(tmp_path / INDEX_FILE, make))
    assert make.count == 1
    assert [file.name for file in tmp_path.iterdir()] == [INDEX_FILE]


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", '{"modules": []}', '{"modules": [["a"]], "built_in": []}',
        '{"modules": [["a", [5], [], []]], "built_in": []}', '{"modules": {"a": 1}, "built_in": []}',
        '{"modules": [], "built_in": [{}]}', "[" * 100_000, "\ud800",
    ],
    ids=lambda text: text[:40].encode("unicode_escape").decode(),
)  # fmt: skip
def test_an_index_that_is_damaged_is_made_again(tmp_path: Path, content: str) -> None:
    (tmp_path / INDEX_FILE).write_bytes(content.encode(errors="surrogatepass"))
    make = _Making()
    for _ in range(2):
        _check(keep_index(tmp_path / INDEX_FILE, make))
    assert make.count == 1
