"""The verb drift."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.samples import SYMVERS, write_facts

if TYPE_CHECKING:
    from fakes.bench import Bench

_KERNEL, _OTHER = "6.1.0-10-amd64", "6.12.5+deb12-amd64"


def test_a_symbol_that_became_a_macro_is_told_with_its_header(bench: Bench) -> None:
    gone = SYMVERS.replace("0x11111111\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n", "")
    write_facts(bench.store / _OTHER / "facts", _OTHER, gone)
    (bench.store / _OTHER / "facts" / "definitions").write_text("include/linux/slab.h:9:#define kfree(x) kvfree(x)\n")
    bench.build("--kernel", _KERNEL)
    code, out, err = bench.run("drift", _KERNEL, _OTHER)
    assert code == 0, err
    assert "kfree no longer exported: a macro in include/linux/slab.h now" in " ".join(out.split())
    assert f"compared are binaries: the symbols that built modules use (demo for {_KERNEL})" in out
    searches = [call for call in bench.calls("build") if "NAMES=kfree" in call]
    assert len(searches) == 2, "what the earlier kernel's headers had as well is no news"
    (row,) = json.loads(bench.run("drift", "--json", _KERNEL, _OTHER)[1])["demo"]
    assert (row["change"], row["header"]) == ("no longer exported", "a macro in include/linux/slab.h")


def test_kernels_that_do_not_differ_say_so(bench: Bench) -> None:
    bench.build("--kernel", _KERNEL)
    code, out, _ = bench.run("drift", _KERNEL, _OTHER)
    assert (code, f"differs between {_KERNEL} and {_OTHER}" in " ".join(out.split())) == (0, True)


@pytest.mark.parametrize(
    ("other", "code", "words"), [("nonsense", 2, "nonsense"), ("6.1.0-77-amd64", 4, "no kernel source")]
)
def test_kernels_that_are_not_there(bench: Bench, other: str, code: int, words: str) -> None:
    found, _, err = bench.run("drift", _KERNEL, other)
    assert (found, words in err) == (code, True), err
