"""Progress for people: a live picture on a terminal, plain lines elsewhere. Results go to stdout, this to stderr."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from builder.build.result import Status
from builder.writing import about

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console, RenderableType

    from builder.build.result import CellResult
    from builder.errors import Failure
    from builder.plan.decide import Decision
    from builder.plan.prediction import TimeToGo


class Reporter(Protocol):
    """Hears what a run does; called from several threads."""

    def say(self, message: str) -> None: ...
    def cell_started(self, decision: Decision) -> None: ...
    def cell_stage(self, decision: Decision, stage: str) -> None: ...
    def cell_retried(self, decision: Decision, failure: Failure) -> None: ...
    def cell_finished(self, result: CellResult) -> None: ...


class _Base:
    """What both forms share: counting, and one line per finished cell."""

    def __init__(self, console: Console, time_to_go: TimeToGo) -> None:
        self._console = console
        self._time_to_go = time_to_go
        self._total = len(time_to_go.cells)
        self._done = 0
        self._guard = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""

    def say(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def cell_started(self, decision: Decision) -> None:
        with self._guard:
            self._time_to_go.start(decision.cell.id, time.monotonic())

    def cell_stage(self, decision: Decision, stage: str) -> None:
        """Only the live picture shows stages."""

    def cell_retried(self, decision: Decision, failure: Failure) -> None:
        self.say(f"{decision.cell.id}: trying again after {failure.code}: {failure.detail}")

    def cell_finished(self, result: CellResult) -> None:
        with self._guard:
            self._count(result)
            to_go = self._to_go(before=", ") if result.failure is None else ""
            self.say(f"{self._line(result)}{to_go}")

    def _count(self, result: CellResult) -> None:
        self._done += 1
        self._time_to_go.finish(result.decision.cell.id, time.monotonic())

    def _to_go(self, *, before: str = "") -> str:
        """Return how long it will probably still take; empty where nothing tells, or nothing is left."""
        left_s = self._time_to_go.left_s(time.monotonic()) if self._done < self._total else None
        return "" if left_s is None else f"{before}{about(left_s)} to go"

    def _line(self, result: CellResult) -> str:
        width = len(str(self._total))
        head = f"[{self._done:>{width}}/{self._total}] {result.status:<7} {result.decision.cell.id}"
        if result.failure is not None:
            return f"{head}  {result.failure.failure_class}: {result.failure.detail}"
        return f"{head}  {result.duration_s:.1f} s"


class PlainReporter(_Base):
    """One line per finished cell: for CI, pipes and logs."""


class LiveReporter(_Base):
    """A progress bar with the cells that run now below it."""

    def __init__(self, console: Console, time_to_go: TimeToGo) -> None:
        super().__init__(console, time_to_go)
        self._running: dict[str, tuple[str, float]] = {}
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[to_go]}"), console=console,
        )  # fmt: skip
        self._task = self._progress.add_task("building", total=self._total, to_go="")
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def cell_stage(self, decision: Decision, stage: str) -> None:
        with self._guard:
            self._running[decision.cell.id] = (stage, time.monotonic())

    def cell_finished(self, result: CellResult) -> None:
        with self._guard:
            self._running.pop(result.decision.cell.id, None)
            self._progress.advance(self._task)
            self._count(result)
            if result.status is Status.FAILED:
                self.say(self._line(result))

    def _render(self) -> RenderableType:
        picture = Table.grid(padding=(0, 1))
        picture.add_row(self._progress)
        with self._guard:
            self._progress.update(self._task, to_go=self._to_go())
            for cell, (stage, since) in self._running.items():
                picture.add_row(f"  {cell}  {stage} {time.monotonic() - since:.0f} s")
        return picture


def choose_reporter(console: Console, time_to_go: TimeToGo) -> LiveReporter | PlainReporter:
    """Return the live picture for a terminal, plain lines for anything else."""
    return LiveReporter(console, time_to_go) if console.is_terminal else PlainReporter(console, time_to_go)
