"""The verb keys."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.show.proof import emit_signing_log
from builder.signing.certificates import read_named_identities
from builder.signing.create import create_development_key, create_image_key, emit_enrolment
from builder.signing.log import SigningLog
from builder.writing import emit_json

if TYPE_CHECKING:
    from builder.verbs.session import Session


_FILE = click.Path(path_type=Path)


@click.group()
def keys() -> None:
    """Make a development key, show what administrators need, read the signing log."""


@keys.command()
@click.option("--name", help="Name of the signer; default: development, or images.")
@click.option(
    "--kind",
    type=click.Choice(["rsa", "ecdsa"]),
    default="rsa",
    show_default=True,
    help="RSA 2048 is what all firmware knows; ECDSA is P-384.",
)
@click.option(
    "--folder",
    type=_FILE,
    default=Path("~/.config/kmodsmith/keys"),
    show_default=True,
    help="Where the private key goes; outside of the project, so that nothing can pack it up.",
)
@click.option("--images", is_flag=True, help="Make a key that signs images instead: ECDSA P-256, as cosign makes it.")
@click.pass_obj
def create(session: Session, *, name: str | None, kind: str, folder: Path, images: bool) -> None:
    """Make a private key and a certificate for development; both say so, and groups can forbid it.

    Production keys are made where they are kept: in an HSM, a KMS, or by your security team.
    """
    project = session.project.file.parent
    if images:
        made = create_image_key(
            name or "images", key_folder=folder.expanduser().absolute(), public_folder=project / "keys"
        )
        files = f"private key  {made.key_file}\npublic key   {made.public_key_file}\n"
        session.out.print(files, markup=False, soft_wrap=True)
        session.out.print(f"For versions.yaml:\n\n{made.versions_yaml(project)}", markup=False, soft_wrap=True)
        return
    name = name or "development"
    created = create_development_key(
        name,
        key_folder=folder.expanduser().absolute(),
        certificate_folder=project / "certificates",
        kind=kind,
        now=datetime.now(UTC),
    )
    session.out.print(
        f"private key  {created.key_file}\ncertificate  {created.certificate_file}\n\nFor versions.yaml:\n",
        markup=False,
        soft_wrap=True,
    )
    session.out.print(created.versions_yaml(project), markup=False, soft_wrap=True)
    session.out.print(f"and in each group that is to be signed:\n    signers: [{name}]", markup=False, soft_wrap=True)
    session.out.print(
        "Groups with kernels in common need the same signers, or different endings of their tags (tag_suffix).",
        markup=False,
        soft_wrap=True,
    )


@keys.command()
@click.argument("name")
@click.option("--write", "folder", type=_FILE, help="Write NAME.der and NAME.md into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def show(session: Session, *, name: str, folder: Path | None, as_json: bool) -> None:
    """Show the certificate of signer NAME, and how administrators make nodes trust it (mokutil)."""
    identity = read_named_identities(session.project.config, [name])[0]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.der").write_bytes(identity.certificate.der)
        (folder / f"{name}.md").write_text(emit_enrolment(identity))
    if as_json:
        certificate = identity.certificate
        facts = {
            "signer": name,
            "subject": certificate.subject,
            "sha256": certificate.fingerprint,
            "not_before": certificate.x509.not_valid_before_utc.isoformat(),
            "not_after": certificate.x509.not_valid_after_utc.isoformat(),
            "development": identity.is_development,
        }
        session.out.file.write(emit_json(facts))
    else:
        session.out.print(emit_enrolment(identity), markup=False, soft_wrap=True)


@keys.command("log")
@click.option("--json", "as_json", is_flag=True, help="Print the entries as JSON.")
@click.pass_obj
def signing_log(session: Session, *, as_json: bool) -> None:
    """Print what was signed, when, by whom, after checking that no line was changed or removed."""
    entries = SigningLog(session.project.work_dir / "signing.jsonl").read()
    if as_json:
        session.out.file.write(emit_json(entries))
    else:
        session.out.print(emit_signing_log(entries))
