"""The verb sign."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.build.resign import sign_image, sign_targets
from builder.errors import UsageError
from builder.writing import emit_json

if TYPE_CHECKING:
    from builder.verbs.session import Session


_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("targets", nargs=-1, required=True)
@click.option(
    "--signer", "signers", multiple=True, required=True, metavar="NAME", help="Signer of versions.yaml; repeatable."
)
@click.option("--tag", help="TARGETS is one image; this is the name of the image with signed modules.")
@click.option("--replace", is_flag=True, help="Replace signatures of others; without it they are an error.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.pass_obj
def sign(
    session: Session,
    *,
    targets: tuple[str, ...],
    signers: tuple[str, ...],
    tag: str | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Sign module files in place, all modules below folders, or (with --tag) those of an image.

    Modules that already have exactly the wanted signatures are left as they are. Every signature is verified against
    the certificate and written to the signing log (keys log).

    \b
    sign --signer release build/out/*.ko
    sign --signer release localhost/mydriver:1.0-KERNEL --tag localhost/mydriver:1.0-KERNEL-signed

    Exit codes: 0 all have exactly these signatures; 9 a signer may not or cannot sign; 8 a file is no module.
    """
    if tag is None:
        done = sign_targets(session.project, signers, [Path(target) for target in targets], replace=replace)
        rows = [asdict(item) for item in done]
    elif len(targets) != 1:
        raise UsageError("--tag needs exactly one image")
    else:
        proof = sign_image(session.project, signers, targets[0], tag, replace=replace)
        rows = [{"path": module.name, "status": "signed", "sha256": module.sha256} for module in proof.modules]
    if as_json:
        session.out.file.write(emit_json(rows))
        return
    for row in rows:
        session.out.print(f"{row['status']:<15} {row['path']}", markup=False, soft_wrap=True)
