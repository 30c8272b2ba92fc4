"""Module.symvers: which symbols a kernel exports."""

from __future__ import annotations

import pytest
from fakes.samples import SYMVERS
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import FormatError
from builder.kmod.symvers import KernelSymbols, SymbolCounts


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


def test_symbols_of_two_kernels_are_counted_by_what_became_of_them() -> None:
    before = KernelSymbols(
        "0x1\ta\tvmlinux\tEXPORT_SYMBOL\t\n0x2\tb\tvmlinux\tEXPORT_SYMBOL\t\n0x3\tc\tvmlinux\tEXPORT_SYMBOL\t\n"
    )
    after = KernelSymbols(
        "0x1\ta\tvmlinux\tEXPORT_SYMBOL\t\n0x2\tb\tvmlinux\tEXPORT_SYMBOL_GPL\t\n0x4\td\tvmlinux\tEXPORT_SYMBOL\t\n"
    )
    assert before.compare(after) == SymbolCounts(same=1, changed=1, gone=1, new=1)
    assert before.compare(before) == SymbolCounts(same=3, changed=0, gone=0, new=0)
