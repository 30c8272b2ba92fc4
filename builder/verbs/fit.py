"""The verb fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.build.fit_image import fit_image
from builder.show.proof import emit_proof, emit_proof_json

if TYPE_CHECKING:
    from builder.verbs.session import Session


_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("image")
@click.option(
    "--kernel-files",
    type=_FILE,
    help="Folder with the kernel's files, such as /lib/modules/KERNEL; default: its toolkit.",
)
@click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="NAME",
    help="A module that must be there; repeatable. Default: what versions.yaml says.",
)
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    type=_FILE,
    help="Certificate that must have signed; repeatable. Default: what versions.yaml says.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the proof as JSON.")
@click.pass_obj
def fit(
    session: Session,
    *,
    image: str,
    kernel_files: Path | None,
    modules: tuple[str, ...],
    certificates: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Prove that the modules of IMAGE would load on its kernel, and that the image is what KMM and certification want.

    IMAGE is a name in the container store or oci:FOLDER. Every module is read out of the image's layers and compared
    with the kernel's own files: ELF, vermagic, every symbol's CRC, namespaces, licences, dependencies, depmod data,
    firmware, signatures, labels, packages, secrets.

    \b
    fit localhost/ptemplate:1.0.0-6.12.117_deb12-amd64
    fit oci:build/image --kernel-files /lib/modules/6.1.0-56-amd64 --certificate vendor.pem

    Exit codes: 0 they would; 13 a module or the image does not fit; 14 a signature is missing or wrong.
    """
    proof = fit_image(session.project, image, kernel_files=kernel_files, modules=modules, certificates=certificates)
    if as_json:
        session.out.file.write(emit_proof_json(proof))
    else:
        session.out.print(emit_proof(proof))
    return proof.findings[0].check.failure_class.exit_code if proof.findings else 0
