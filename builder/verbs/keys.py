"""The verb keys."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.show.proof import emit_signing_log
from builder.signing.certificates import read_named_identities
from builder.signing.create import create_development_key, create_image_key, emit_enrolment
from builder.signing.log import SigningLog
from builder.signing.served import ServeWish, open_served, split_pairs
from builder.signing.serving import KeyServer, ServeBounds, open_socket
from builder.signing.serving import serve as serve_keys
from builder.writing import emit_json

if TYPE_CHECKING:
    from builder.verbs.session import Session


_FILE = click.Path(path_type=Path)


@click.group()
def keys() -> None:
    """Make a development key, show what administrators need, read the signing log.

    \b
    keys create
    keys show development --write enrolment
    keys log

    Exit codes: those of the verb below.
    """


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

    \b
    keys create                  a key that signs modules
    keys create --images         one that signs images
    keys create --name nightly --kind ecdsa

    Exit codes: 0 it is made; 2 there is one already, which stays.
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
    """Show the certificate of signer NAME, and how administrators make nodes trust it (mokutil).

    \b
    keys show development
    keys show development --write enrolment

    Exit codes: 0 it is shown; 9 it cannot be read.
    """
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


@keys.command()
@click.option(
    "--socket",
    "place",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where it listens; steps that sign have the same path in KMODSMITH_KEY_SOCKET.",
)
@click.option(
    "--key",
    "named",
    multiple=True,
    metavar="NAME=FILE",
    help="Private key of signer NAME of versions.yaml; repeatable. No versions.yaml is needed.",
)
@click.option("--images", type=_FILE, metavar="FILE", help="Private key of publish.signer.")
@click.option(
    "--signer",
    "signers",
    multiple=True,
    metavar="NAME",
    help="Serve signer NAME as this project's versions.yaml says (PKCS#11, command); repeatable.",
)
@click.option(
    "--passphrase",
    "passphrases",
    multiple=True,
    metavar="NAME=FILE",
    help="File with the passphrase of a --key; of --images: images=FILE.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    type=click.IntRange(min=0),
    help="Number of a user that may ask; default: this one.",
)
@click.option("--group-may-read", is_flag=True, help="Key files may be open to their group, as Secrets in pods are.")
@click.option(
    "--most", type=click.IntRange(min=1), default=ServeBounds().most, show_default=True, help="Signatures in all."
)
@click.pass_obj
def serve(
    session: Session, *, place: Path, named: tuple[str, ...], images: Path | None, signers: tuple[str, ...],
    passphrases: tuple[str, ...], users: tuple[int, ...], group_may_read: bool, most: int,
) -> int:  # fmt: skip
    """Sign for other processes of this machine that must not have keys: in a pod, a sidecar of the step that builds.

    Keys are tried when it begins, each is held by a process of its own, and none is ever given away: who may connect
    gets signatures of digests, within bounds, and each is told as a line of JSON. Runs until it is ended (SIGTERM).

    \b
    keys serve --socket /run/keys/sock --key vendor=/keys/vendor.pem --images /keys/images.key --user 1000

    Whoever signs has KMODSMITH_KEY_SOCKET=/run/keys/sock in its environment. Exit codes: 0 it was ended; 9 a key
    cannot be used; 5 somebody serves there already.
    """
    wish = ServeWish(
        keys=split_pairs(named, "--key"), images=images, signers=signers,
        passphrases=split_pairs(passphrases, "--passphrase"), group_may_read=group_may_read,
    )  # fmt: skip
    config = session.project.config if signers else None
    with open_served(wish, config) as held, open_socket(place.absolute(), is_shared=bool(users)) as listener:
        allowed = frozenset(users) or frozenset({os.getuid()})
        server = KeyServer(held, allowed, bounds=ServeBounds(most=most), tell=lambda said: _tell(session, said))
        _tell(session, {"serving": str(place), "signers": sorted(held), "users": sorted(allowed)})
        with contextlib.suppress(KeyboardInterrupt):
            serve_keys(listener, server)
    return 0


def _tell(session: Session, said: dict[str, object]) -> None:
    line = json.dumps({"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **said})
    session.out.file.write(f"{line}\n")
    session.out.file.flush()


@keys.command("log")
@click.option("--json", "as_json", is_flag=True, help="Print the entries as JSON.")
@click.pass_obj
def signing_log(session: Session, *, as_json: bool) -> None:
    """Print what was signed, when, by whom, after checking that no line was changed or removed.

    \b
    keys log
    keys log --json

    Exit codes: 0 the log is whole; 8 a line was changed or removed.
    """
    entries = SigningLog(session.project.work_dir / "signing.jsonl").read()
    if as_json:
        session.out.file.write(emit_json(entries))
    else:
        session.out.print(emit_signing_log(entries))
