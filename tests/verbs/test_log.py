"""The verb log."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from builder.plan.project import open_project
from builder.verbs.log import log
from builder.verbs.session import Session

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


def test_what_a_compile_says_to_a_terminal_is_shown_and_not_obeyed(bench: Bench) -> None:
    bench.break_kernel(_OTHER, "demo.c:1:1: error: \x1b]52;c;cm0=\x07 x")
    bench.build("--kernel", _OTHER)
    said = {}
    for is_terminal in (True, False):
        out = Console(file=io.StringIO(), force_terminal=is_terminal)
        assert log.callback is not None
        log.callback.__wrapped__(Session(project=open_project(bench.folder), out=out, err=out), cell=None)  # type: ignore[attr-defined]
        said[is_terminal] = out.file.getvalue()  # type: ignore[attr-defined]
    assert ("\x1b" in said[True], "\\x1b]52;c;cm0=\\x07 x\n" in said[True]) == (False, True)
    assert "\x1b]52;c;cm0=\x07 x\n" in said[False]
