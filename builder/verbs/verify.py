"""The verb verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.errors import FailureClass
from builder.publish.verify import verify_image
from builder.show.publish import emit_verification, emit_verification_json

if TYPE_CHECKING:
    from builder.verbs.session import Session


@click.command()
@click.argument("image")
@click.option(
    "--key",
    "key_files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Public key, PEM; repeatable, one of them must have signed. Default: publish.signer of versions.yaml.",
)
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(["module-signature", "boot", "self-test"]),
    help="A test that the image need not have passed; repeatable.",
)
@click.option(
    "--require-boot",
    type=click.Choice(["any", "secure", "signed"]),
    help="What its boot test must have proved: that modules load; that they do under Secure Boot, if only as copies "
    "with a throwaway signature; that they do with their own signatures. Default: publish.require_boot, or any.",
)
@click.option(
    "--signed-as",
    metavar="REPOSITORY",
    help="The repository that its signatures name, where the image is in a mirror of it.",
)
@click.option("--plain-http", is_flag=True, help="Speak to the image's registry without TLS.")
@click.option("--json", "as_json", is_flag=True, help="Print every check as JSON.")
@click.pass_obj
def verify(
    session: Session, *, image: str, key_files: tuple[Path, ...], without: tuple[str, ...], require_boot: str | None,
    signed_as: str | None, plain_http: bool, as_json: bool,
) -> int:  # fmt: skip
    """Check IMAGE of a registry, and all that is said of it, with nothing but a public key.

    Everything is read anew and compared with its digest: the manifest, signatures in the form of podman and CRI-O,
    signed statements in the form of cosign 3, and, only if these are right, every layer. Provenance must be about this
    image, its kernel, toolkit and architecture; the bill of materials must list the very modules that are in the
    layers; fit, module signatures and boot test must have been passed; what is waived is told. Of a component image,
    provenance and Python packages are compared, and its self-test must have been passed. Of a list of images, each is
    checked. Of a driver's index, its own signature is.

    \b
    verify quay.io/mycompany/mydriver:1.4.0-5.14.0-427.68.1.el9_4.x86_64
    verify quay.io/mycompany/mydriver@sha256:... --key vendor.pub --require-boot signed
    verify quay.io/mycompany/mydriver@sha256:... --key vendor.pub --without boot

    Exit codes: 0 all is right; 16 not; 7 no answer.
    """
    verification = verify_image(
        session.project, image, key_files, without=without, require_boot=require_boot, signed_as=signed_as,
        plain_http=plain_http,
    )  # fmt: skip
    if as_json:
        session.out.file.write(emit_verification_json(verification))
    else:
        session.out.print(emit_verification(verification))
    return 0 if verification.passed else FailureClass.PUBLISH.exit_code
