"""Progress: one line for a finished cell where nobody watches, a picture on a terminal."""

from __future__ import annotations

import io
import re

from fakes.outcomes import COMPILE_FAILURE, RESULTS
from rich.console import Console

from builder.build.reporter import LiveReporter, PlainReporter, choose_reporter
from builder.plan.prediction import TimeToGo

_BUILT, _FAILED = RESULTS[0], RESULTS[1]


def _time_to_go(total: int, **seconds: float) -> TimeToGo:
    others = [f"cell-{number}" for number in range(total - 2)]
    cells = [_BUILT.decision.cell.id, _FAILED.decision.cell.id, *others]
    return TimeToGo(seconds=dict.fromkeys(cells, 60.0) if seconds else {}, cells=cells, workers=1)


def _console(*, is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=160, force_terminal=is_terminal, color_system=None)


def _printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_cell_has_a_line_where_nobody_watches() -> None:
    console = _console(is_terminal=False)
    reporter = choose_reporter(console, _time_to_go(10))
    assert isinstance(reporter, PlainReporter)
    with reporter:
        reporter.cell_started(_BUILT.decision)
        reporter.cell_stage(_BUILT.decision, "compile")
        reporter.cell_finished(_BUILT)
        reporter.cell_retried(_FAILED.decision, COMPILE_FAILURE)
        reporter.cell_finished(_FAILED)
    assert _printed(console).splitlines() == [
        f"[ 1/10] built   {_BUILT.decision.cell.id}  1.2 s, about 5 s to go",
        f"{_FAILED.decision.cell.id}: trying again after compiler-error: {COMPILE_FAILURE.detail}",
        f"[ 2/10] failed  {_FAILED.decision.cell.id}  compile: {COMPILE_FAILURE.detail}",
    ]


def test_on_a_terminal_only_failures_have_a_line() -> None:
    console = _console(is_terminal=True)
    reporter = choose_reporter(console, _time_to_go(2))
    assert isinstance(reporter, LiveReporter)
    reporter.cell_stage(_BUILT.decision, "compile")
    reporter.cell_finished(_BUILT)
    reporter.cell_finished(_FAILED)
    lines = [line for line in _printed(console).splitlines() if line.strip()]
    assert [line.partition("]")[0] for line in lines] == ["[2/2"]


def test_the_picture_shows_what_runs_and_since_when() -> None:
    console = _console(is_terminal=True)
    reporter = LiveReporter(console, _time_to_go(2))
    reporter.cell_stage(_BUILT.decision, "compile")
    console.print(reporter._render())
    assert f"{_BUILT.decision.cell.id}  compile 0 s" in _printed(console)


def test_time_to_go_is_told_where_something_tells() -> None:
    console = _console(is_terminal=False)
    reporter = choose_reporter(console, _time_to_go(3, each=60.0))
    reporter.cell_started(_BUILT.decision)
    reporter.cell_finished(_BUILT)
    reporter.cell_finished(_FAILED)
    lines = _printed(console).splitlines()
    assert re.search(r" s, about \d+ s to go$", lines[0])
    reporter = choose_reporter(console, _time_to_go(2, each=60.0))
    reporter.cell_finished(_BUILT)
    reporter.cell_finished(_FAILED)
    assert "to go" not in _printed(console).splitlines()[-1]


def test_the_picture_shows_what_is_left() -> None:
    console = _console(is_terminal=True)
    reporter = LiveReporter(console, _time_to_go(10, each=60.0))
    console.print(reporter._render())
    assert "about 10 min to go" in _printed(console)
    silent = _console(is_terminal=True)
    silent.print(LiveReporter(silent, _time_to_go(10))._render())
    assert "to go" not in _printed(silent)
