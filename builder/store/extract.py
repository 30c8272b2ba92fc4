"""Copies files out of an image of the container store into a folder, by a small build that keeps nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import CellError, SourceError
from builder.host.locks import alone
from builder.host.run import run
from builder.store.build import ImageBuild
from builder.store.result_folder import Bounds, copy_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.store.jail import Jail

# The kernel of an operating system with all of its modules is what takes most.
_BOUNDS = Bounds(size=4 * 1024**3)


def extract_files(containerfile: str, arguments: Mapping[str, str], target: Path, *, jail: Jail) -> None:
    """Fill a folder, unless it is there already; it appears whole or not at all.

    Args:
        containerfile: text of a Containerfile whose stage ``build`` copies what is wanted to ``/out``.
        arguments: its build arguments.
        target: the folder.
        jail: where it runs.

    Raises:
        CommandError: the image does not hold what is copied.
        SourceError: what it holds there are no plain files, or far too many.
    """
    with alone(target):
        if target.is_dir():
            return
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".extract-") as scratch:
            context = Path(scratch, "context")
            context.mkdir()
            complete = Path(scratch, "complete")
            recipe = Path(scratch, "Containerfile")
            recipe.write_text(containerfile)
            image_build = ImageBuild(
                context=context, containerfile=recipe, arguments=arguments, log_file=None, jail=jail
            )
            try:
                with jail.open_room() as room:
                    run(image_build.compile(room)).check()
                    copy_files(room.results, complete, _BOUNDS)
            except CellError as error:
                raise SourceError(f"{target.name}: {error.message}") from None
            complete.rename(target)
