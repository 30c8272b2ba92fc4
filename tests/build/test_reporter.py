"""Progress: one line for a finished cell where nobody watches, a picture on a terminal."""

from __future__ import annotations

import io

from fakes.outcomes import COMPILE_FAILURE, RESULTS
from rich.console import Console

from builder.build.reporter import LiveReporter, PlainReporter, choose_reporter

_BUILT, _FAILED = RESULTS[0], RESULTS[1]


def _console(*, is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=160, force_terminal=is_terminal, color_system=None)


def _printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_cell_has_a_line_where_nobody_watches() -> None:
    console = _console(is_terminal=False)
    reporter = choose_reporter(console, 10)
    assert isinstance(reporter, PlainReporter)
    with reporter:
        reporter.cell_started(_BUILT.decision)
        reporter.cell_stage(_BUILT.decision, "compile")
        reporter.cell_finished(_BUILT)
        reporter.cell_retried(_FAILED.decision, COMPILE_FAILURE)
        reporter.cell_finished(_FAILED)
    assert _printed(console).splitlines() == [
        f"[ 1/10] built   {_BUILT.decision.cell.id}  1.2 s",
        f"{_FAILED.decision.cell.id}: trying again after compiler-error: {COMPILE_FAILURE.detail}",
        f"[ 2/10] failed  {_FAILED.decision.cell.id}  compile: {COMPILE_FAILURE.detail}",
    ]


def test_on_a_terminal_only_failures_have_a_line() -> None:
    console = _console(is_terminal=True)
    reporter = choose_reporter(console, 2)
    assert isinstance(reporter, LiveReporter)
    reporter.cell_stage(_BUILT.decision, "compile")
    reporter.cell_finished(_BUILT)
    reporter.cell_finished(_FAILED)
    lines = [line for line in _printed(console).splitlines() if line.strip()]
    assert [line.partition("]")[0] for line in lines] == ["[2/2"]


def test_the_picture_shows_what_runs_and_since_when() -> None:
    console = _console(is_terminal=True)
    reporter = LiveReporter(console, 2)
    reporter.cell_stage(_BUILT.decision, "compile")
    console.print(reporter._render())
    assert f"{_BUILT.decision.cell.id}  compile 0 s" in _printed(console)
