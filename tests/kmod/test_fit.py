"""Whether a kernel would load a module: a good one fits, and each thing that is broken is found under its own code."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.samples import (
    KERNEL,
    PLACE,
    REAL_KERNEL,
    REAL_MODULES,
    Sample,
    make_facts,
)

from builder.kmod.finding import Check
from builder.kmod.fit import check_modules, place_modules
from builder.kmod.packing import pack_module

if TYPE_CHECKING:
    from collections.abc import Sequence


def _codes(*modules: tuple[str, bytes], expected: Sequence[str] | None = None, **facts: Any) -> set[str]:
    placed, findings = place_modules(modules)
    findings += check_modules(placed, make_facts(**facts), expected=expected)
    return {finding.check for finding in findings}


def test_a_good_module_fits() -> None:
    assert _codes((PLACE, Sample().write()), expected=["demo"]) == set()


def test_real_modules_fit_their_kernel() -> None:
    files = [
        (f"opt/lib/modules/{REAL_KERNEL}/extra/{file.name}", file.read_bytes())
        for file in sorted(REAL_MODULES.glob("*.ko"))
    ]
    placed, findings = place_modules(files)
    facts = make_facts(REAL_KERNEL, (REAL_MODULES / "Module.symvers").read_text())
    findings += check_modules(placed, facts, expected=["ptemplate_core", "ptemplate_char"])
    assert findings == []
    assert {finding.check for finding in check_modules(placed[:1], facts, expected=None)} == {
        Check.SYMBOL_MISSING,
        Check.DEPENDENCY_UNKNOWN,
    }


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        (Check.WRONG_CLASS, {"bits": 32}),
        (Check.WRONG_ENDIANNESS, {"order": ">"}),
        (Check.WRONG_MACHINE, {"machine": 183}),
        (Check.NOT_RELOCATABLE, {"kind": 3}),
        (Check.WRONG_KERNEL, {"kernel": "6.12.4+deb12-amd64"}),
        (Check.WRONG_VERMAGIC_FLAGS, {"flags": "SMP preempt_rt mod_unload modversions "}),
        (Check.WRONG_VERMAGIC_FLAGS, {"flags": "SMP preempt mod_unload "}),
        (Check.IN_TREE_FLAG, {"modinfo": ["license=GPL", "intree=Y"]}),
        (
            Check.SYMBOL_MISSING,
            {"imports": ["kfree", "absent_thing"], "versions": {"kfree": 0x11111111, "absent_thing": 1}},
        ),
        (Check.SYMBOL_WITHOUT_VERSION, {"versions": {"kfree": 0x11111111}}),
        (Check.WRONG_SYMBOL_VERSION, {"versions": {"kfree": 0x11111110, "_printk": 0x22222222}}),
        (Check.WRONG_SYMBOL_VERSION, {"versions": {"kfree": 0x11111111, "_printk": 0x22222222, "module_layout": 1}}),
        (Check.WRONG_SYMBOL_VERSION, {"versions": {"kfree": 0x01111111, "_printk": 0x22222222}, "extended": True}),
        (Check.NAMESPACE_NOT_IMPORTED, {"imports": ["space_thing"]}),
        (Check.NAMESPACE_NOT_IMPORTED, {"imports": ["for_some"], "name": "stranger"}),
        (Check.GPL_ONLY_SYMBOL, {"imports": ["gpl_thing"], "modinfo": ["license=Proprietary"]}),
        (Check.LICENSE_MISSING, {"modinfo": []}),
        (Check.DEPENDENCY_UNKNOWN, {"depends": "nowhere"}),
        (Check.DEPENDENCY_NOT_DECLARED, {"imports": ["usb_thing"]}),
    ],
)
def test_each_broken_thing_has_its_code(check: Check, changes: dict[str, Any]) -> None:
    name = changes.get("name", "demo")
    assert _codes((PLACE.replace("demo", name), Sample(**changes).write())) == {check}


@pytest.mark.parametrize(
    "changes",
    [
        {"imports": ["space_thing"], "modinfo": ["license=GPL", "import_ns=OTHER", "import_ns=SPACE"]},
        {"imports": ["for_some"]},
        {"imports": ["for_some"], "name": "other-thing"},
        {"imports": ["gpl_thing"], "modinfo": ["license=Dual BSD/GPL"]},
        {"imports": ["usb_thing"], "depends": "usbcore"},
        {"weak": ["absent_thing"]},
        {"modinfo": ["license=Proprietary"]},
    ],
)
def test_what_is_allowed_is_no_finding(changes: dict[str, Any]) -> None:
    name = changes.get("name", "demo")
    assert _codes((PLACE.replace("demo", name), Sample(**changes).write())) == set()


def test_files_that_are_no_modules() -> None:
    good = Sample().write()
    assert _codes((PLACE, good[: len(good) // 2])) == {Check.MODULE_UNREADABLE}
    assert _codes((PLACE, b"")) == {Check.MODULE_UNREADABLE}
    assert _codes((f"{PLACE}.xz", good)) == {Check.MODULE_UNREADABLE}
    assert _codes((PLACE, Sample(flags="").write().replace(b"vermagic=", b"vermagik="))) == {Check.VERMAGIC_MISSING}
    for compression in ("xz", "zst", "gz"):
        assert _codes((f"{PLACE}.{compression}", pack_module(good, compression))) == set()


def test_places_and_names() -> None:
    good = Sample().write()
    elsewhere = PLACE.replace(KERNEL, "6.12.4+deb12-amd64")
    assert _codes((elsewhere, good)) == {Check.WRONG_FOLDER}
    assert _codes((PLACE.removeprefix("opt/lib/modules/"), good)) == {Check.WRONG_FOLDER}
    assert _codes((PLACE, good), expected=["demo", "other"]) == {Check.MODULE_MISSING}
    assert _codes((PLACE, good), expected=[]) == {Check.MODULE_UNEXPECTED}
    assert _codes((PLACE, good), expected=["de*", "?other"]) == set()
    assert _codes((PLACE, good), expected=["demo", "other-*"]) == {Check.MODULE_MISSING}
    assert _codes((PLACE, good), expected=["?other", "?other-*"]) == {Check.MODULE_UNEXPECTED}
    assert _codes((PLACE.replace("demo", "renamed"), good), expected=["renamed"]) == set()
    assert _codes((PLACE, good), (f"{PLACE}.gz", pack_module(good, "gz"))) == {Check.MODULE_TWICE}


def test_modules_of_one_image_resolve_each_other() -> None:
    provider = Sample(name="base", exports={"base_call": 0xAB}).write()
    versions = {"base_call": 0xAB}
    user = Sample(imports=["base_call"], versions=versions, depends="base").write()
    base = PLACE.replace("demo", "base")
    assert _codes((PLACE, user), (base, provider)) == set()
    changed = Sample(name="base", exports={"base_call": 0xAC}).write()
    assert _codes((PLACE, user), (base, changed)) == {Check.WRONG_SYMBOL_VERSION}
    undeclared = Sample(imports=["base_call"], versions=versions).write()
    assert _codes((PLACE, undeclared), (base, provider)) == {Check.DEPENDENCY_NOT_DECLARED}
    assert _codes((PLACE, user)) == {Check.SYMBOL_MISSING, Check.DEPENDENCY_UNKNOWN}


def test_a_symbol_has_one_owner() -> None:
    """verify_exported_symbols() refuses a second one, whoever owns the first."""
    for name in ("gpl_thing", "usb_thing"):
        assert _codes((PLACE, Sample(exports={name: 1}).write())) == {Check.DUPLICATE_SYMBOL}
    replaced = Sample(name="usbcore", exports={"usb_thing": 0x44444444}).write()
    assert _codes((PLACE.replace("demo", "usbcore"), replaced)) == set()
    posing = Sample(name="vmlinux", exports={"gpl_thing": 0x33333333}).write()
    assert _codes((PLACE.replace("demo", "vmlinux"), posing)) == {Check.DUPLICATE_SYMBOL}
    two = [(PLACE.replace("demo", name), Sample(name=name, exports={"shared": 1}).write()) for name in ("one", "two")]
    assert _codes(*two) == {Check.DUPLICATE_SYMBOL}


def test_a_name_belongs_to_one_module() -> None:
    files = [(PLACE.replace("demo", name), Sample(name="same").write()) for name in ("one", "two")]
    assert _codes(*files) == {Check.MODULE_TWICE}
    assert _codes(files[0]) == set()
    placed, _ = place_modules([(PLACE, Sample(name="loop").write())])
    kernel = replace(make_facts(), built_in=frozenset({"loop"}))
    assert {item.check for item in check_modules(placed, kernel, expected=None)} == {Check.MODULE_BUILT_IN}


def test_a_kernel_without_symbol_versions_compares_none() -> None:
    flags = "SMP preempt mod_unload "
    module = Sample(flags=flags, versions={}).write()
    assert _codes((PLACE, module), flags=flags) == set()


def test_a_reused_module_needs_symbol_versions() -> None:
    older = "6.12.4+deb12-amd64"
    placed, _ = place_modules([(PLACE, Sample(kernel=older).write())])
    assert check_modules(placed, make_facts(), expected=None, compiled_for=older) == []
    flags = "SMP preempt mod_unload "
    placed, _ = place_modules([(PLACE, Sample(kernel=older, flags=flags, versions={}).write())])
    findings = check_modules(placed, make_facts(flags=flags), expected=None, compiled_for=older)
    assert [finding.check for finding in findings] == [Check.WRONG_KERNEL]


def test_one_flipped_bit_of_a_crc_is_found() -> None:
    good = Sample().write()
    place = good.index(struct.pack("<Q", 0x11111111))
    for byte in range(4):
        broken = bytearray(good)
        broken[place + byte] ^= 1
        assert _codes((PLACE, bytes(broken))) == {Check.WRONG_SYMBOL_VERSION}
