"""Reading modules: real ones, other word sizes and byte orders, and hostile ones."""

from __future__ import annotations

import pytest
from fakes.samples import REAL_MODULES, Sample
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import FormatError
from builder.kmod.kernel_object import module_name, read_kernel_object
from builder.kmod.symvers import KernelSymbols


def test_reads_a_real_module() -> None:
    core = read_kernel_object((REAL_MODULES / "ptemplate_core.ko").read_bytes(), "ptemplate_core.ko")
    char = read_kernel_object((REAL_MODULES / "ptemplate_char.ko").read_bytes(), "ptemplate_char.ko")
    assert (core.name, core.vermagic) == ("ptemplate_core", "6.12.117+deb12-amd64 SMP preempt mod_unload modversions ")
    assert char.depends == ("ptemplate_core",)
    assert set(core.exports) == {name for name in char.imports if name.startswith("ptemplate_")}
    assert all(export.is_gpl_only for export in core.exports.values())
    assert {name: core.exports[name].crc for name in core.exports} == {
        name: char.versions[name] for name in core.exports
    }
    layout = KernelSymbols((REAL_MODULES / "Module.symvers").read_text()).find("module_layout")
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


@pytest.mark.parametrize(
    "name", ["x; reboot", "x }; reboot; f() { true", "../../x", ".x", "a/b", "a b", "-x", "x" * 56, "\u00e9", "x\n"]
)
def test_a_name_that_would_be_more_than_a_word_is_refused(name: str) -> None:
    """It stands in commands and paths of guests, and no build gives it."""
    with pytest.raises(FormatError, match="is no name that a kernel's build gives"):
        read_kernel_object(Sample(name=name).write(), "x.ko")


@pytest.mark.parametrize("name", ["snd_hda_intel", "8021q", "nf-nat.x", "x" * 55])
def test_names_of_real_modules_are_taken(name: str) -> None:
    assert read_kernel_object(Sample(name=name).write(), "x.ko").name == name


def test_an_object_that_is_no_module_is_not_taken_for_one() -> None:
    data = Sample().write().replace(b".modinfo", b".something"[:8])
    with pytest.raises(FormatError, match="no .modinfo"):
        read_kernel_object(data, "x.ko")


@pytest.mark.parametrize(("path", "name"), [("a/snd-hda.ko", "snd_hda"), ("x.ko.xz", "x"), ("b/c_d", "c_d")])
def test_module_names(path: str, name: str) -> None:
    assert module_name(path) == name


# Fuzzing: whatever is done to a module, it is read or refused with a sentence. Derandomized, so that CI is bounded
# and repeatable; a longer run is one option away (--hypothesis-profile).
_SEED_FILES = [
    (REAL_MODULES / "ptemplate_char.ko").read_bytes(),
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
