"""Stage compile: a driver's modules for one kernel, built in its toolkit, without network, into a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import CellError, FailureClass
from builder.failure import classify_compile_log
from builder.module.packing import is_module
from builder.run import run

if TYPE_CHECKING:
    from builder.image_build import ImageBuild


def compile_modules(image_build: ImageBuild, target: Path, *, stage_image: str, make_jobs: int) -> None:
    """Compile into ``target``.

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
    find_modules(target)


def find_modules(tree: Path) -> list[Path]:
    """Return the modules of a compile's result; its build may have left links that point at files of this host.

    Raises:
        CellError: a module is not a regular file, or lies behind a link.
    """
    modules = []
    for folder, folders, files in os.walk(tree):
        for name in sorted(name for name in (*files, *folders) if is_module(name)):
            module = Path(folder, name)
            if module.is_symlink() or not module.is_file():
                raise CellError(FailureClass.COMPILE, "module-not-a-file", f"{name} is no regular file")
            modules.append(module)
    return sorted(modules)
