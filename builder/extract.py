"""Copies files out of an image of the container store into a folder, by a small build that keeps nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import CellError, SourceError
from builder.image_build import ImageBuild
from builder.locks import alone
from builder.result_folder import Bounds, copy_files, remove_folder
from builder.run import run
from builder.store import STAGE_REPOSITORY, remove_images

if TYPE_CHECKING:
    from collections.abc import Mapping

# The kernel of an operating system with all of its modules is what takes most.
_BOUNDS = Bounds(size=4 * 1024**3)


def extract_files(containerfile: str, arguments: Mapping[str, str], target: Path, *, tag: str, isolation: str) -> None:
    """Fill a folder, unless it is there already; it appears whole or not at all.

    Args:
        containerfile: text of a Containerfile whose stage ``build`` copies what is wanted to ``/out``.
        arguments: its build arguments.
        target: the folder.
        tag: names the build in the container store while it lasts.
        isolation: buildah's isolation.

    Raises:
        CommandError: the image does not hold what is copied.
        SourceError: what it holds there are no plain files, or far too many.
    """
    with alone(target):
        if target.is_dir():
            return
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".extract-") as scratch:
            files = Path(scratch, "files")
            files.mkdir()
            complete = Path(scratch, "complete")
            recipe = Path(scratch, "Containerfile")
            recipe.write_text(containerfile)
            image_build = ImageBuild(
                context=files, containerfile=recipe, arguments=arguments, log_file=None, isolation=isolation
            )
            stage_image = f"{STAGE_REPOSITORY}:{tag}"
            try:
                run(image_build.compile(files, name=stage_image)).check()
                copy_files(files, complete, _BOUNDS)
            except CellError as error:
                raise SourceError(f"{tag}: {error.message}") from None
            finally:
                remove_images([stage_image])
                remove_folder(files)
            complete.rename(target)
