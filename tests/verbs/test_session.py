"""How far long work is, where there is no terminal to draw a bar in."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from builder.verbs.session import SafeConsole, show_progress


def test_only_now_and_then_there_is_a_line() -> None:
    console = Console(file=io.StringIO(), width=80)
    with show_progress(console, "things") as tell:
        for done in (1, 99, 100, 101, 250):
            tell(done, 250)
    with show_progress(console, "few") as tell:
        tell(5, 5)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == ["100 of 250 things", "250 of 250 things"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_strangers_wrote_is_shown_and_never_obeyed(*, is_terminal: bool) -> None:
    said = "a\x1b]52;c;cm0=\x07\x9b2J\rb"
    table = Table(said)
    table.add_row(said)
    file = io.StringIO()
    console = SafeConsole(file=file, width=120, force_terminal=is_terminal, color_system=None)
    for what in (said, Text(said), table, Panel(said)):
        console.print(what, markup=False, soft_wrap=isinstance(what, str))
    shown = file.getvalue()
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\r"}
    assert shown.count("a\\x1b]52;c;cm0") == 5


def test_pictures_that_change_still_steer_the_terminal() -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, width=80, force_terminal=True)
    with Live(Text("one\ntwo"), console=console, auto_refresh=False) as live:
        live.update(Text("three"), refresh=True)
    console.print(Text("red", style="red"))
    assert "\x1b[1A" in file.getvalue()
    assert "\x1b[31mred\x1b[0m" in file.getvalue()


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
