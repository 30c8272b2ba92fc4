"""Stage compile: a driver's modules for one kernel, built in its toolkit, without network, into a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import CellError, FailureClass
from builder.evidence import ModuleRecord
from builder.failure import classify_compile_log
from builder.run import run
from builder.tree import file_digest

if TYPE_CHECKING:
    from pathlib import Path

    from builder.image_build import ImageBuild


def compile_modules(
    image_build: ImageBuild, target: Path, *, stage_image: str, make_jobs: int
) -> tuple[ModuleRecord, ...]:
    """Compile into ``target`` and return the modules found there.

    Raises:
        CellError: the build failed; the error holds the first real error line of the log.
    """
    target.mkdir()
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
    return tuple(_describe(file) for file in sorted(target.glob("opt/lib/modules/*/extra/*.ko")))


def _describe(module: Path) -> ModuleRecord:
    """Describe a module; a driver's build may leave links here that point at files of this host."""
    if module.is_symlink() or not module.is_file():
        raise CellError(FailureClass.COMPILE, "module-not-a-file", f"{module.name} is no regular file")
    return ModuleRecord(name=module.name, sha256=file_digest(module), size=module.stat().st_size)
