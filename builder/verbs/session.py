"""What all verbs share: the project, the two consoles, and progress."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from builder.errors import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

    from builder.plan.project import Project


# Wide enough for a row of every table; a pipe has no width of its own.
PIPE_WIDTH = 150


# From this width on, tables have room for keys and digests.
WIDE = 100


# A line for every so many things where there is no terminal to draw a bar in.
_EVERY = 100


class SafeConsole(Console):
    """A console that shows what would steer it, in whatever is printed: names and texts come from strangers."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            # What Rich itself has to say to a terminal is marked as such.
            yield segment if segment.control else segment._replace(text=escape_controls(segment.text))


@dataclass(frozen=True, kw_only=True)
class Session:
    """What all verbs share: the project and the two consoles (results to stdout, everything else to stderr)."""

    project: Project
    out: Console
    err: Console


@contextmanager
def show_progress(err: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Give what shows how far long work is: a bar in a terminal, now and then a line elsewhere."""
    from rich.progress import Progress as Bar  # noqa: PLC0415 - see cli()

    if not sys.stderr.isatty():

        def say(done: int, total: int) -> None:
            if done % _EVERY == 0 or (done == total and total >= _EVERY):
                err.print(f"{done} of {total} {what}", markup=False, soft_wrap=True)

        yield say
        return
    with Bar(console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
