"""How far long work is, where there is no terminal to draw a bar in."""

from __future__ import annotations

import ast
import io
from pathlib import Path

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


_BUILDER = Path(__file__).parents[2] / "builder"


def test_text_is_printed_in_lines_as_long_as_they_are() -> None:
    """A console that is no terminal has 80 columns, and what is cut there cannot be searched for in a log of CI."""
    wrapped = []
    for file in sorted(_BUILDER.rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "print"):
                continue
            given = {keyword.arg for keyword in call.keywords}
            if "markup" in given and "soft_wrap" not in given:
                wrapped.append(f"{file.name}:{call.lineno}")
    assert not wrapped
