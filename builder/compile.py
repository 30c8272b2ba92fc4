"""Stage compile: a driver's modules for one kernel, built in its toolkit, without network, and read as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import CellError
from builder.failure import classify_compile_log
from builder.result_folder import read_result, remove_folder
from builder.run import run

if TYPE_CHECKING:
    from pathlib import Path

    from builder.compile_result import CompileResult
    from builder.image_build import ImageBuild


def compile_modules(image_build: ImageBuild, target: Path, *, stage_image: str, make_jobs: int) -> CompileResult:
    """Compile into the folder ``target``, which is made and removed, and return what was left in it.

    Raises:
        CellError: the build failed, and the error holds the first real error line of the log; or what it left behind
            is not what a build may leave.
    """
    target.mkdir()
    try:
        _compile(image_build, target, stage_image=stage_image, make_jobs=make_jobs)
        return read_result(target)
    finally:
        remove_folder(target)


def _compile(image_build: ImageBuild, target: Path, *, stage_image: str, make_jobs: int) -> None:
    outcome = run(image_build.compile(target, name=stage_image, make_jobs=make_jobs))
    if not outcome:
        failure = classify_compile_log(outcome.stderr, exit_explanation=outcome.explain())
        raise CellError(
            failure.failure_class,
            failure.code,
            f"compile {outcome.explain()}",
            detail=failure.detail,
            hint=failure.hint,
            location=failure.location,
        )
