"""Stage assemble: the final kmod image, from a folder of modules and the base image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import CellError, FailureClass
from builder.host.run import run
from builder.image.labels import (
    CELL_LABEL,
    COMPILED_FOR_LABEL,
    DEVELOPMENT_LABEL,
    KERNEL_LABEL,
    KEY_LABEL,
    SIGNED_LABEL,
    SIGNERS_LABEL,
    SOURCE_LABEL,
    TOOLKIT_LABEL,
    UNTRUSTED_LABEL,
    VARIANT_LABEL,
)
from builder.plan.decide import UNTRUSTED
from builder.store.build import find_mistake, ran_something

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from builder.plan.decide import Decision
    from builder.signing.certificates import SignerIdentity
    from builder.store.build import ImageBuild


def assemble_image(
    image_build: ImageBuild, decision: Decision, modules: Path, *, name: str, signers: Sequence[SignerIdentity]
) -> str:
    """Make the image and return its id: by it, it is proven, booted and named.

    The passing name only keeps it from being lost, and lets a later run remove what this one left behind.

    Raises:
        CellError: buildah failed, which is no fault of the driver's.
    """
    id_file = modules.with_name("image-id")
    command = image_build.assemble(
        modules,
        names=(name,),
        kernel=decision.cell.kernel,
        labels=image_labels(decision, signers),
        id_file=id_file,
    )
    outcome = run(command)
    if not outcome and ran_something(outcome.stderr):
        raise CellError(
            FailureClass.COMPILE,
            "last-stage-runs",
            "the last stage of its Containerfile runs a command: the final image is made by copying alone",
            hint="let the stage 'build' do it, and leave what comes out below /out",
        )
    if not outcome and (mistake := find_mistake(outcome.stderr)):
        raise CellError(FailureClass.COMPILE, "containerfile", mistake)
    if not outcome:
        last_line = next(reversed(outcome.stderr.strip().splitlines()), "")
        raise CellError(
            FailureClass.INFRASTRUCTURE,
            "assemble",
            f"the final image could not be made: buildah {outcome.explain()}",
            detail=last_line,
        )
    return read_image_id(id_file)


def read_image_id(file: Path) -> str:
    """Return the id that buildah wrote into a file."""
    return file.read_text().strip().removeprefix("sha256:")


def image_labels(decision: Decision, signers: Sequence[SignerIdentity]) -> dict[str, str]:
    """Return kmodsmith's own labels: with them a registry alone tells what an image was made of."""
    kernel = decision.cell.kernel
    if decision.inputs is None:
        raise ValueError(decision)
    labels = {
        CELL_LABEL: decision.cell.id,
        KEY_LABEL: decision.key,
        KERNEL_LABEL: kernel.raw,
        VARIANT_LABEL: kernel.variant,
        SOURCE_LABEL: decision.inputs.source,
        TOOLKIT_LABEL: decision.inputs.toolkit,
        SIGNED_LABEL: "yes" if signers else "no",
    }
    if decision.inputs.compiled_for:
        labels[COMPILED_FOR_LABEL] = decision.inputs.compiled_for
    if decision.inputs.signers == UNTRUSTED:
        labels[UNTRUSTED_LABEL] = "yes"
    if signers:
        labels[SIGNERS_LABEL] = ",".join(signer.certificate.fingerprint for signer in signers)
    if any(signer.is_development for signer in signers):
        labels[DEVELOPMENT_LABEL] = "yes"
    return labels
