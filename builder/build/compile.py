"""Stage compile: a driver's modules for one kernel, built in its toolkit, without network, and read as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import CellError
from builder.evidence.compile_log import classify_compile_log
from builder.host.run import run
from builder.store.result_folder import read_result

if TYPE_CHECKING:
    from builder.store.build import ImageBuild
    from builder.store.jail import Room
    from builder.store.result import CompileResult


def compile_modules(image_build: ImageBuild, *, make_jobs: int, may_exclude: bool = False) -> CompileResult:
    """Compile in a room of its own, and return what was left in it; ``may_exclude`` is ``classify_compile_log``'s.

    Raises:
        CellError: the build failed, and the error holds the first real error line of the log; or what it left behind
            is not what a build may leave.
    """
    with image_build.jail.open_room() as room:
        _compile(image_build, room, make_jobs=make_jobs, may_exclude=may_exclude)
        return read_result(room.results)


def _compile(image_build: ImageBuild, room: Room, *, make_jobs: int, may_exclude: bool) -> None:
    outcome = run(image_build.compile(room, make_jobs=make_jobs))
    if not outcome:
        room.raise_limit()
        ended = outcome.explain()
        failure = classify_compile_log(outcome.stderr, exit_explanation=ended, may_exclude=may_exclude)
        raise CellError.of(failure, f"compile {ended}")
