"""The verb log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakes.bench import Bench

_KERNEL, _OTHER = "6.1.0-10-amd64", "6.12.5+deb12-amd64"


def test_the_log_of_what_failed_last_or_of_what_is_named(bench: Bench) -> None:
    code, _, err = bench.run("log")
    assert (code, "no failed build is known" in err) == (2, True)
    bench.break_kernel(_OTHER, "demo.c:1:1: error: x")
    bench.build("--kernel", _KERNEL, "--kernel", _OTHER)
    code, out, _ = bench.run("log")
    assert (code, "demo.c:1:1: error: x" in out) == (0, True)
    for name in (_KERNEL, f"demo-1.2.0/{_KERNEL}"):
        code, out, _ = bench.run("log", name)
        assert (code, "error: x" in out, f"KERNEL_VERSION={_KERNEL}" in out) == (0, False, True)
    next((bench.folder / ".kmodsmith" / "cells" / "demo-1.2.0" / _OTHER).glob("build.log")).unlink()
    code, _, err = bench.run("log")
    assert (code, "is no longer there" in err) == (2, True)
