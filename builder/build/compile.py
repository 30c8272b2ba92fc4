"""Stage compile: a driver's modules for one kernel, built in its toolkit, without network, and read as data.

With a lane of the compile cache, compilers look there first. Whether a cell fails never depends on it: what fails after
something was taken from the cache is compiled again without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import CellError
from builder.evidence.compile_log import classify_compile_log
from builder.host.run import run
from builder.store.cached_compiler import KNOWN, NEW, OWN, SCRIPTS, CacheUse
from builder.store.result_folder import read_result

if TYPE_CHECKING:
    from pathlib import Path

    from builder.store.build import ImageBuild
    from builder.store.compile_cache import Lane
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


def compile_with_cache(
    image_build: ImageBuild, lane: Lane, ccache: Path, *, make_jobs: int, may_exclude: bool = False
) -> tuple[CompileResult, CacheUse]:
    """Compile as ``compile_modules`` does, with a lane of the compile cache; returns also what it was good for.

    ``ccache`` is the folder of the program.
    """
    with image_build.jail.open_room() as room:
        for name, text in SCRIPTS.items():
            (room.cache[OWN] / name).write_text(text)
        lent = lane.lend(room.cache[KNOWN])
        try:
            _compile(image_build, room, make_jobs=make_jobs, may_exclude=may_exclude, ccache=ccache)
            result = read_result(room.results)
        except CellError:
            if not lane.read_use(lent, room.cache[OWN]).hits:
                raise
        else:
            return result, lane.take(lent, room.cache[NEW], room.cache[OWN])
    return compile_modules(image_build, make_jobs=make_jobs, may_exclude=may_exclude), CacheUse(damaged=lent.damaged)


def _compile(
    image_build: ImageBuild, room: Room, *, make_jobs: int, may_exclude: bool, ccache: Path | None = None
) -> None:
    outcome = run(image_build.compile(room, make_jobs=make_jobs, ccache=ccache))
    if not outcome:
        room.raise_limit()
        ended = outcome.explain()
        failure = classify_compile_log(outcome.stderr, exit_explanation=ended, may_exclude=may_exclude)
        raise CellError.of(failure, f"compile {ended}")
