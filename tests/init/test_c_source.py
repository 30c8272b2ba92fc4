"""What C says of its module, and what a stranger's C costs."""

from __future__ import annotations

import time

import pytest

from builder.init.c_source import Said, read_c, read_defines, strip_comments


def test_the_macros_of_a_module() -> None:
    facts = read_c(
        "// SPDX-License-Identifier: GPL-2.0-only\n"
        '/* MODULE_LICENSE("no") */\n'
        'MODULE_LICENSE("Dual BSD/GPL");\n'
        'MODULE_DESCRIPTION("A card, "\n   "and \\"more\\"");\n'
        'MODULE_FIRMWARE("acme/nic.bin");\nMODULE_FIRMWARE(NAME);\n'
        "MODULE_DEVICE_TABLE(pci, ids);\n",
        {},
    )
    assert facts.spdx == "GPL-2.0-only"
    assert facts.licenses == (Said("Dual BSD/GPL", 3),)
    assert facts.descriptions == (Said('A card, and "more"', 4),)
    assert facts.firmware == (Said("acme/nic.bin", 6), Said("", 7))
    assert facts.buses == ("pci",)
    assert facts.is_module
    assert not read_c("int x;", {}).is_module


@pytest.mark.parametrize(
    ("argument", "version"),
    [
        ('"1.2"', "1.2"),
        ("VERSION", "3.4"),
        ('"v" VERSION', "v3.4"),
        ('__stringify(MAJOR) "." __stringify(MINOR)', "5.0"),
        ("AGAIN", "3.4"),
        ("UNKNOWN", ""),
        ("__stringify(UNKNOWN)", ""),
        ('"1" UNKNOWN', ""),
        ("f(1)", ""),
        ("LOOP", ""),
        ("", ""),
    ],
)
def test_values_that_are_known_without_a_compiler(argument: str, version: str) -> None:
    defines = {"VERSION": '"3.4"', "MAJOR": "5", "MINOR": "0", "AGAIN": "VERSION", "LOOP": "LOOP"}
    assert read_c(f"MODULE_VERSION({argument});", defines).versions == (Said(version, 1),)


def test_a_macro_that_is_defined_twice_is_not_known() -> None:
    text = '#define A 1\n# define B "x" // y\n#ifdef C\n#define A 2\n#endif\n'
    assert read_defines(text) == {"B": '"x"'}


def test_devices_by_numbers_and_names() -> None:
    text = (
        "{ PCI_DEVICE(0x1234, 0x11E8) }, { PCI_DEVICE(ACME, DEVICE) }, { USB_DEVICE(0x1f, 10u) }, { PCI_DEVICE(X, 1) }"
    )
    devices = read_c(text, {"ACME": "(0xacce)", "DEVICE": "0x1"}).devices
    assert devices == ("pci 1234:11e8", "pci acce:0001", "usb 001f:000a")


def test_what_refuses_to_be_loaded() -> None:
    text = (
        "static int __init ready(void);\n"
        "static int __init ready(void)\n{\n\tif (!card) {\n\t\treturn -ENODEV;\n\t}\n\treturn 0;\n}\n"
        "static int probe(void) { return -ENXIO; }\n"
    )
    assert read_c(text, {}).refusals == (Said("ENODEV", 5),)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a /* b */ c", "a   c"),
        ("a // b\nc", "a \nc"),
        ('"/*" b', '"/*" b'),
        ("a /* b\nc", "a  \n"),
        ('"a\\"/*" b', '"a\\"/*" b'),
    ],
)
def test_comments(text: str, plain: str) -> None:
    assert strip_comments(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        "/*" * 500_000,
        "MODULE_LICENSE(" * 20_000,
        "MODULE_LICENSE((" + "(" * 300_000,
        "static int __init a(void) {" * 40_000,
        "#define A" + " x" * 400_000,
        '"' * 900_000,
        "PCI_DEVICE(1, 2)" * 60_000,
        'MODULE_DESCRIPTION("a" ' + '"b" ' * 200_000 + ");",
    ],
)
def test_hostile_text_costs_no_more_than_its_size(text: str) -> None:
    started = time.process_time()
    read_defines(text)
    read_c(text, {"A": "A A"})
    assert time.process_time() - started < 10
