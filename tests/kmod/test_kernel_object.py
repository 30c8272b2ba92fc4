"""Reading modules: real ones, other word sizes and byte orders, compressed ones, and hostile ones."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from fakes.samples import SYMVERS, Sample
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import FormatError
from builder.kmod import packing
from builder.kmod.elf import Elf
from builder.kmod.kernel_object import module_name, read_kernel_object
from builder.kmod.packing import pack_module, unpack_module
from builder.kmod.symvers import KernelSymbols

REAL = Path(__file__).parents[1] / "data" / "modules" / "6.12.117+deb12-amd64"


@pytest.mark.parametrize("name", ["ptemplate_core", "ptemplate_char"])
def test_agrees_with_pyelftools_about_real_modules(name: str) -> None:
    file = REAL / f"{name}.ko"
    ours = Elf(file.read_bytes())
    with file.open("rb") as stream:
        theirs = ELFFile(stream)
        assert [section.name for section in ours.sections] == [section.name for section in theirs.iter_sections()]
        table = next(section for section in theirs.iter_sections() if isinstance(section, SymbolTableSection))
        names = [symbol.name for symbol in table.iter_symbols()]
        assert [symbol.name for symbol in ours.symbols] == names
        text = theirs.get_section_by_name(".modinfo")
        assert text is not None
        assert ours.section(".modinfo") == text.data()


def test_reads_a_real_module() -> None:
    core = read_kernel_object((REAL / "ptemplate_core.ko").read_bytes(), "ptemplate_core.ko")
    char = read_kernel_object((REAL / "ptemplate_char.ko").read_bytes(), "ptemplate_char.ko")
    assert (core.name, core.vermagic) == ("ptemplate_core", "6.12.117+deb12-amd64 SMP preempt mod_unload modversions ")
    assert char.depends == ("ptemplate_core",)
    assert set(core.exports) == {name for name in char.imports if name.startswith("ptemplate_")}
    assert all(export.is_gpl_only for export in core.exports.values())
    assert {name: core.exports[name].crc for name in core.exports} == {
        name: char.versions[name] for name in core.exports
    }
    layout = KernelSymbols((REAL / "Module.symvers").read_text()).find("module_layout")
    assert layout is not None
    assert char.versions["module_layout"] == layout.crc


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extended", [True, False])
def test_reads_every_word_size_and_byte_order(bits: int, order: str, extended: bool) -> None:
    sample = Sample(bits=bits, order=order, extended=extended, exports={"mine": 0xCAFEBABE}, weak=["maybe"])
    item = read_kernel_object(sample.write(), "demo.ko")
    assert (item.bits, item.is_little, item.is_relocatable) == (bits, order == "<", True)
    assert item.imports == {"kfree": False, "_printk": False, "maybe": True}
    assert item.versions == {"kfree": 0x11111111, "_printk": 0x22222222, "module_layout": 0x77777777}
    assert item.exports["mine"].crc == 0xCAFEBABE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"#!/bin/sh\n", "not an ELF file"),
        (b"\x7fELF\x02\x01", "damaged or cut off"),
        (Sample().write()[:100], "cut off"),
        (Sample().write()[:-50], "cut off"),
        (b"\x7fELF\x09\x01" + Sample().write()[6:], "damaged"),
    ],
)
def test_what_is_no_module_is_explained(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read_kernel_object(data, "x.ko")


def test_an_object_that_is_no_module_is_not_taken_for_one() -> None:
    data = Sample().write().replace(b".modinfo", b".something"[:8])
    with pytest.raises(FormatError, match="no .modinfo"):
        read_kernel_object(data, "x.ko")


@pytest.mark.parametrize(("path", "name"), [("a/snd-hda.ko", "snd_hda"), ("x.ko.xz", "x"), ("b/c_d", "c_d")])
def test_module_names(path: str, name: str) -> None:
    assert module_name(path) == name


@pytest.mark.parametrize("compression", ["xz", "zst", "gz"])
def test_compression_round_trip_and_damage(compression: str) -> None:
    data = Sample(filler=b"x" * 5000).write()
    packed = pack_module(data, compression)
    assert packed == pack_module(data, compression)
    assert unpack_module(packed, f"a/demo.ko.{compression}") == data
    with pytest.raises(FormatError, match=f"its {compression} compression is damaged"):
        unpack_module(packed[: len(packed) // 2], f"demo.ko.{compression}")
    with pytest.raises(FormatError, match="compression is damaged"):
        unpack_module(b"nonsense", f"demo.ko.{compression}")


def test_compressed_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_LARGEST_MODULE", 1 << 20)
    for data, suffix in (
        (gzip.compress(b"\0" * (4 << 20)), "gz"),
        (lzma.compress(b"\0" * (4 << 20)), "xz"),
        (pack_module(b"\0" * (4 << 20), "zst"), "zst"),
    ):
        with pytest.raises(FormatError, match="unpacks to more than 1 MiB"):
            unpack_module(data, f"demo.ko.{suffix}")


def test_symvers() -> None:
    symbols = KernelSymbols(SYMVERS)
    thing = symbols.find("gpl_thing")
    assert thing is not None
    assert (thing.crc, thing.is_gpl_only, thing.module) == (0x33333333, True, "vmlinux")
    assert symbols.modules == {"usbcore"}
    assert symbols.find("nothing") is None


@pytest.mark.parametrize("line", ["kfree", "0x1\tkfree", "11111111\tkfree\tvmlinux\tEXPORT_SYMBOL\t"])
def test_wrong_symvers_names_the_line(line: str) -> None:
    with pytest.raises(FormatError, match="line 8 is not a line of Module.symvers"):
        KernelSymbols(SYMVERS + line + "\n")


def test_a_crc_that_is_no_number_is_an_error_and_no_traceback() -> None:
    with pytest.raises(FormatError, match="kfree has no CRC"):
        KernelSymbols(SYMVERS.replace("0x11111111", "0xzz")).find("kfree")


# Fuzzing: whatever is done to a module, it is read or refused with a sentence. Derandomized, so that CI is bounded
# and repeatable; a longer run is one option away (--hypothesis-profile).
_SEED_FILES = [
    (REAL / "ptemplate_char.ko").read_bytes(),
    Sample(exports={"a": 1}).write(),
    Sample(bits=32, order=">", extended=True).write(),
]


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.sampled_from(_SEED_FILES), st.data())
def test_mutated_modules_are_read_or_refused(seed: bytes, data: st.DataObject) -> None:
    mutated = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(
            st.integers(0, len(mutated) - 1)
            | st.integers(0, 63)
            | st.integers(max(0, len(mutated) - 2500), len(mutated) - 1)
        )
        mutated[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    cut = data.draw(st.integers(0, len(mutated)) | st.just(len(mutated)))
    try:
        item = read_kernel_object(bytes(mutated[:cut]), "x.ko")
    except FormatError:
        return
    assert len(item.imports) <= len(seed)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.binary(max_size=2000), st.sampled_from([b"", b"\x7fELF\x02\x01\x01", b"\x7fELF\x01\x02\x01"]))
def test_random_files_are_refused(noise: bytes, head: bytes) -> None:
    with pytest.raises(FormatError):
        read_kernel_object(head + noise, "x.ko")


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from(SYMVERS.splitlines()) | st.text(max_size=40), max_size=5).map("\n".join)
)
def test_random_symvers_are_read_or_refused(text: str) -> None:
    try:
        KernelSymbols(text).find("kfree")
    except FormatError:
        return


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.sampled_from(["xz", "zst", "gz"]), st.data())
def test_mutated_compression_is_read_or_refused(compression: str, data: st.DataObject) -> None:
    packed = bytearray(pack_module(_SEED_FILES[1], compression))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack_module(bytes(packed), f"x.ko.{compression}")
    except FormatError:
        return
