"""The verbs about registries. What they do lives in ``builder.publish.cells``, ``audit`` and ``verifying``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.errors import FailureClass
from builder.verbs.cli import WIDE, make_selector, show_progress, with_selectors

if TYPE_CHECKING:
    from builder.verbs.cli import Session


@click.command()
@with_selectors
@click.option(
    "--force", "forced", multiple=True, metavar="CELL", help="Move tags of this cell (its id, globs); repeatable."
)
@click.option("--reason", default="", help="Why tags are moved; required with --force, and recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def publish(session: Session, /, *, forced: tuple[str, ...], reason: str, as_json: bool, **selectors: Any) -> int:
    """Put the images of the selected cells into their registries.

    Only images that are built, proven and (where versions.yaml wants it) booted; the driver's 'image' names the
    registry. Blobs that are there are not sent again; the manifest goes in by digest and is looked at there; tags are
    written last, and never moved: another image under the same tag is a conflict. Killed or interrupted, the same
    command goes on. Secrets come from podman login, or registry.auth_files. Exit codes: 0 all there, or a list waits
    for other machines, 16 not.

    \b
    publish
    publish --group openshift-418 --driver mydriver
    publish --force 'mydriver-1.4.0/*' --reason 'the key of 1.4.0 leaked'
    """
    from builder.publish.cells import Force, publish_project  # noqa: PLC0415
    from builder.show.publish import (  # noqa: PLC0415 - see builder.verbs.cli
        emit_publish_json,
        emit_publish_summary,
        emit_publish_table,
    )

    force = Force(cells=forced, reason=reason)
    with show_progress(session.err, "images published") as progress:
        results = publish_project(session.project, make_selector(selectors), force=force, progress=progress)
    if as_json:
        session.out.file.write(emit_publish_json(results))
    else:
        session.out.print(emit_publish_table(results, wide=session.out.width >= WIDE))
        session.out.print(emit_publish_summary(results), markup=False)
    return FailureClass.PUBLISH.exit_code if any(result.is_failure for result in results) else 0


@click.command()
@with_selectors
@click.option("--json", "as_json", is_flag=True, help="Print every tag as JSON.")
@click.pass_obj
def audit(session: Session, /, *, as_json: bool, **selectors: Any) -> int:
    """Compare what registries have with what was published; changes nothing.

    missing: a tag is not there. different: it stands for another image than was published, or for one of other inputs
    than there are now. unsigned: it lacks a signature by the key of publish.signer, or a statement. waiting: a tag of
    several architectures, whose images are not all there. extra: nobody here knows the tag. unknown: no answer. Exit
    codes: 0 as it should be, 16 not.
    """
    from builder.publish.audit import audit_project  # noqa: PLC0415
    from builder.show.publish import emit_audit_json, emit_audit_summary, emit_audit_table  # noqa: PLC0415 - see builder.verbs.cli

    with show_progress(session.err, "tags compared") as progress:
        audits = audit_project(session.project, make_selector(selectors), progress=progress)
    drifted = any(item.drift != "none" for item in audits)
    if as_json:
        session.out.file.write(emit_audit_json(audits))
    else:
        if drifted:
            session.out.print(emit_audit_table(audits, wide=session.out.width >= WIDE))
        session.out.print(emit_audit_summary(audits), markup=False)
    return FailureClass.PUBLISH.exit_code if drifted else 0


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
    type=click.Choice(["module-signature", "boot"]),
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
    layers; fit, module signatures and boot test must have been passed. Of a list of images, each is checked. Exit
    codes: 0 all is right, 16 not, 7 no answer.

    \b
    verify quay.io/mycompany/mydriver:1.4.0-5.14.0-427.68.1.el9_4.x86_64
    verify quay.io/mycompany/mydriver@sha256:... --key vendor.pub --require-boot signed
    verify quay.io/mycompany/mydriver@sha256:... --key vendor.pub --without boot
    """
    from builder.publish.verifying import verify_image  # noqa: PLC0415
    from builder.show.publish import emit_verification, emit_verification_json  # noqa: PLC0415 - see builder.verbs.cli

    verification = verify_image(
        session.project, image, key_files, without=without, require_boot=require_boot, signed_as=signed_as,
        plain_http=plain_http,
    )  # fmt: skip
    if as_json:
        session.out.file.write(emit_verification_json(verification))
    else:
        session.out.print(emit_verification(verification))
    return 0 if verification.passed else FailureClass.PUBLISH.exit_code


@click.group(invoke_without_command=True)
@with_selectors
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("bundle.tar"),
    show_default=True,
    help="The archive.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what is in it as JSON.")
@click.pass_context
def bundle(context: click.Context, /, *, output: Path, as_json: bool, **selectors: Any) -> None:
    """Write the published images of the selected cells into one file, for a site without a network.

    With them go their signatures, attestations and lists of several architectures; the file is an OCI image layout, and
    digests stay what they are. 'bundle load' brings it into another registry.

    \b
    bundle --group openshift-418 --output mydriver-1.4.0.tar
    bundle load mydriver-1.4.0.tar --to registry.site.example:5000/mirror
    """
    if context.invoked_subcommand is not None:
        return
    from builder.publish.bundling import write_bundle  # noqa: PLC0415 - see builder.verbs.cli
    from builder.show.publish import emit_bundle_json  # noqa: PLC0415

    session: Session = context.obj
    with show_progress(session.err, "images read") as progress:
        report, left_out = write_bundle(session.project, make_selector(selectors), output, progress=progress)
    for item in left_out:
        session.err.print(f"left out: {item.cell}: {item.why}", markup=False, soft_wrap=True)
    if as_json:
        session.out.file.write(emit_bundle_json(report, left_out))
        return
    for name, digest in report.images:
        session.out.print(f"{digest} {name}", markup=False, soft_wrap=True)
    session.out.print(
        f"{report.file}: {len(report.images)} names, {report.blobs} blobs, {report.size} bytes", markup=False
    )


@bundle.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "target", required=True, metavar="REGISTRY", help="Registry, or registry and beginning of names.")
@click.option("--plain-http", is_flag=True, help="Speak to that registry without TLS.")
@click.option("--json", "as_json", is_flag=True, help="Print what was loaded as JSON.")
@click.pass_obj
def load(session: Session, *, file: Path, target: str, plain_http: bool, as_json: bool) -> int:
    """Bring a bundle into another registry: blobs, images, signatures, attestations, and then their names.

    quay.io/mycompany/mydriver:TAG becomes REGISTRY/mycompany/mydriver:TAG. Names that stand for another image are left
    alone. Killed or interrupted, the same command goes on. Signatures say the first name: check with
    'verify REGISTRY/... --signed-as quay.io/mycompany/mydriver'. Exit codes: 0 all there, 16 not.
    """
    from builder.publish.bundling import load_bundle  # noqa: PLC0415 - see builder.verbs.cli
    from builder.show.publish import emit_loaded_json  # noqa: PLC0415

    with show_progress(session.err, "parts sent") as progress:
        loaded = load_bundle(session.project, file, target, plain_http=plain_http, progress=progress)
    if as_json:
        session.out.file.write(emit_loaded_json(loaded))
    else:
        for item in loaded:
            why = f": {item.why}" if item.why else ""
            session.out.print(f"{item.status:<9} {item.name}{why}", markup=False, soft_wrap=True)
    return FailureClass.PUBLISH.exit_code if any(item.status == "conflict" for item in loaded) else 0


VERBS = (publish, audit, verify, bundle)
