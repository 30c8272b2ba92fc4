"""Kernels, compared by the modules that are built for them: what compat and drift say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fakes.samples import SYMVERS, write_facts

if TYPE_CHECKING:
    from fakes.bench import Bench

_KERNEL, _NEWER = "6.1.0-10-amd64", "6.12.5+deb12-amd64"
_BOTH = ("--kernel", _KERNEL, "--kernel", _NEWER)


def test_modules_are_judged_for_every_kernel_of_the_selection(bench: Bench) -> None:
    code, _, err = bench.run("compat", *_BOTH)
    assert (code, "none of these cells is built yet" in err) == (2, True)
    bench.offer(_NEWER, versions={"kfree": 0x11111112, "_printk": 0x22222222, "module_layout": 0x77777777})
    write_facts(bench.store / _NEWER / "facts", _NEWER, SYMVERS.replace("0x11111111\tkfree", "0x11111112\tkfree"))
    bench.build(*_BOTH)
    code, out, err = bench.run("compat", "--json", *_BOTH)
    assert code == 0, err
    found = {(item["compiled_for"], item["kernel"]): item for item in json.loads(out)["demo"]}
    assert found[_KERNEL, _KERNEL]["loads"]
    assert (found[_KERNEL, _NEWER]["loads"], found[_KERNEL, _NEWER]["changed"]) == (False, ["kfree"])
    code, out, _ = bench.run("compat", *_BOTH)
    assert "symbols in the way: kfree" in out


def test_drift_between_two_kernels_of_the_lock(bench: Bench) -> None:
    write_facts(bench.store / _NEWER / "facts", _NEWER, SYMVERS.replace("0x11111111\tkfree", "0x11111112\tkfree"))
    bench.build("--kernel", _KERNEL)
    code, out, err = bench.run("drift", "--json", _KERNEL, _NEWER)
    assert code == 0, err
    assert [(row["symbol"], row["change"]) for row in json.loads(out)["demo"]] == [("kfree", "type changed")]
    code, _, err = bench.run("drift", "6.1.0-9-amd64", "6.12.5+deb12-arm64")
    assert (code, "no driver is built for" in err) == (2, True)
