"""The verbs that look at modules and keys: fit, sign, keys, compat, drift."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.errors import UsageError
from builder.verbs.cli import make_selector, with_selectors

if TYPE_CHECKING:
    from builder.verbs.cli import Session

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
    """
    from builder.build.stages import fit_image  # noqa: PLC0415
    from builder.show.proof import emit_proof, emit_proof_json  # noqa: PLC0415 - cryptography takes long to import

    proof = fit_image(session.project, image, kernel_files=kernel_files, modules=modules, certificates=certificates)
    if as_json:
        session.out.file.write(emit_proof_json(proof))
    else:
        session.out.print(emit_proof(proof))
    return proof.findings[0].check.failure_class.exit_code if proof.findings else 0


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
    """
    from builder.build.stages import sign_image, sign_targets  # noqa: PLC0415 - cryptography takes long to import

    if tag is None:
        done = sign_targets(session.project, signers, [Path(target) for target in targets], replace=replace)
        rows = [asdict(item) for item in done]
    elif len(targets) != 1:
        raise UsageError("--tag needs exactly one image")
    else:
        proof = sign_image(session.project, signers, targets[0], tag, replace=replace)
        rows = [{"path": module.name, "status": "signed", "sha256": module.sha256} for module in proof.modules]
    if as_json:
        session.out.file.write(json.dumps(rows, indent=2) + "\n")
        return
    for row in rows:
        session.out.print(f"{row['status']:<15} {row['path']}", markup=False, soft_wrap=True)


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
    from builder.signing.create import create_development_key, create_image_key  # noqa: PLC0415 - cryptography takes long to import

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
    session.out.print(f"and in each group that is to be signed:\n    signers: [{name}]", markup=False)


@keys.command()
@click.argument("name")
@click.option("--write", "folder", type=_FILE, help="Write NAME.der and NAME.md into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def show(session: Session, *, name: str, folder: Path | None, as_json: bool) -> None:
    """Show the certificate of signer NAME, and how administrators make nodes trust it (mokutil)."""
    from builder.signing.access import read_named_identities  # noqa: PLC0415
    from builder.signing.create import emit_enrolment  # noqa: PLC0415 - cryptography takes long to import

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
        session.out.file.write(json.dumps(facts, indent=2) + "\n")
    else:
        session.out.print(emit_enrolment(identity), markup=False, soft_wrap=True)


@keys.command("log")
@click.option("--json", "as_json", is_flag=True, help="Print the entries as JSON.")
@click.pass_obj
def signing_log(session: Session, *, as_json: bool) -> None:
    """Print what was signed, when, by whom, after checking that no line was changed or removed."""
    from builder.show.proof import emit_signing_log  # noqa: PLC0415 - see fit()
    from builder.signing.modules import SigningLog  # noqa: PLC0415

    entries = SigningLog(session.project.work_dir / "signing.jsonl").read()
    if as_json:
        session.out.file.write(json.dumps(entries, indent=2) + "\n")
    else:
        session.out.print(emit_signing_log(entries))


@click.command()
@with_selectors
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
@click.pass_obj
def compat(session: Session, /, *, as_json: bool, **selectors: Any) -> None:
    """On which other kernels would the built modules load, by symbol CRCs, and where not, and why?

    A row for each kernel that was compiled for, a column for each kernel that is asked about. It changes nothing:
    kmodsmith compiles for each kernel.

    \b
    compat --group debian --arch x86_64 --variant standard
    """
    from builder.build.stages import compare_kernels  # noqa: PLC0415
    from builder.show.proof import emit_compat, emit_compat_json  # noqa: PLC0415 - see fit()

    verdicts = compare_kernels(session.project, make_selector(selectors))
    if as_json:
        session.out.file.write(emit_compat_json(verdicts))
    else:
        session.out.print(emit_compat(verdicts))


@click.command()
@click.argument("before")
@click.argument("after")
@with_selectors
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@click.pass_obj
def drift(session: Session, /, *, before: str, after: str, as_json: bool, **selectors: Any) -> None:
    """Show which symbols that a driver uses differ between the kernels BEFORE and AFTER.

    \b
    drift --group debian 6.1.0-55-amd64 6.1.0-56-amd64
    """
    from builder.build.stages import compare_two  # noqa: PLC0415
    from builder.show.proof import emit_drift  # noqa: PLC0415 - see fit()

    drifts = compare_two(session.project, make_selector(selectors), before, after)
    if as_json:
        rows = {driver: [asdict(item) for item in items] for driver, items in drifts.items()}
        session.out.file.write(json.dumps(rows, indent=2) + "\n")
    else:
        session.out.print(emit_drift(drifts, before, after))


VERBS = (fit, sign, keys, compat, drift)
