"""How far long work is, where there is no terminal to draw a bar in."""

from __future__ import annotations

import io

from rich.console import Console

from builder.verbs.session import show_progress


def test_only_now_and_then_there_is_a_line() -> None:
    console = Console(file=io.StringIO(), width=80)
    with show_progress(console, "things") as tell:
        for done in (1, 99, 100, 101, 250):
            tell(done, 250)
    with show_progress(console, "few") as tell:
        tell(5, 5)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == ["100 of 250 things", "250 of 250 things"]
