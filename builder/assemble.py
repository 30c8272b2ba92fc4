"""Stage assemble: the final kmod image, from a folder of modules and the base image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import CellError, FailureClass
from builder.run import run
from builder.store import read_digest

if TYPE_CHECKING:
    from pathlib import Path

    from builder.image_build import ImageBuild
    from builder.plan import Decision


def assemble_image(image_build: ImageBuild, decision: Decision, modules: Path) -> str:
    """Make the image under the cell's two names and return its manifest digest.

    Raises:
        CellError: buildah failed, which is no fault of the driver's.
    """
    command = image_build.assemble(
        modules,
        names=(decision.key_image, decision.image),
        arch=decision.cell.kernel.arch,
        labels=image_labels(decision),
    )
    outcome = run(command)
    if not outcome:
        last_line = next(reversed(outcome.stderr.strip().splitlines()), "")
        raise CellError(
            FailureClass.INFRASTRUCTURE,
            "assemble",
            f"the final image could not be made: buildah {outcome.explain()}",
            detail=last_line,
        )
    return read_digest(decision.key_image)


def image_labels(decision: Decision) -> dict[str, str]:
    """Return kmodsmith's own labels: with them a registry alone tells what an image was made of."""
    kernel = decision.cell.kernel
    if decision.inputs is None:
        raise ValueError(decision)
    return {
        "io.kmodsmith.cell": decision.cell.id,
        "io.kmodsmith.cell.key": decision.key,
        "io.kmodsmith.kernel": kernel.raw,
        "io.kmodsmith.kernel.variant": kernel.variant,
        "io.kmodsmith.source.digest": decision.inputs.source,
        "io.kmodsmith.toolkit.id": decision.inputs.toolkit,
        "io.kmodsmith.signed": "no",
    }
