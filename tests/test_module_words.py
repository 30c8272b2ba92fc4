"""What the words stand for by which drivers name their modules."""

from __future__ import annotations

import pytest

from builder.module_words import ModuleWord


@pytest.mark.parametrize(
    ("word", "fitting", "others"),
    [
        ("demo-net", ("demo-net", "demo_net"), ("demo", "demo_net2", "xdemo_net")),
        ("demo.ko", ("demo",), ("demo_ko",)),
        ("probe-*", ("probe_a", "probe-b-c"), ("probe", "xprobe_a")),
        ("?late", ("late",), ("alate", "xlate")),
        ("?probe-*", ("probe_a",), ("late",)),
    ],
)
def test_which_modules_are_meant(word: str, fitting: tuple[str, ...], others: tuple[str, ...]) -> None:
    assert [name for name in (*fitting, *others) if ModuleWord(word).fits(name)] == list(fitting)


@pytest.mark.parametrize(
    ("word", "is_name", "is_optional"),
    [("demo", True, False), ("probe-*", False, False), ("?demo", False, True), ("?probe-*", False, True)],
)
def test_which_stand_for_one_module(word: str, *, is_name: bool, is_optional: bool) -> None:
    assert (ModuleWord(word).is_name, ModuleWord(word).is_optional) == (is_name, is_optional)
