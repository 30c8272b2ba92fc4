"""Copies files out of an image of the container store into a folder, by a small build that keeps nothing else."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from builder.image_build import ImageBuild
from builder.locks import alone
from builder.run import run
from builder.store import STAGE_REPOSITORY, remove_images

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    """
    with alone(target):
        if target.is_dir():
            return
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".extract-") as scratch:
            files = Path(scratch, "files")
            files.mkdir()
            recipe = Path(scratch, "Containerfile")
            recipe.write_text(containerfile)
            image_build = ImageBuild(
                context=files, containerfile=recipe, arguments=arguments, log_file=None, isolation=isolation
            )
            stage_image = f"{STAGE_REPOSITORY}:{tag}"
            try:
                run(image_build.compile(files, name=stage_image)).check()
            finally:
                remove_images([stage_image])
            complete = Path(scratch, "complete")
            shutil.copytree(files, complete)
            complete.rename(target)
