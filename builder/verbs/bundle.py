"""The verb bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from builder.emit.tekton.send import send_bundles
from builder.errors import FailureClass
from builder.publish.bundle import load_bundle, write_bundle
from builder.shards.artefact import parse_repository
from builder.show.publish import emit_bundle_json, emit_loaded_json
from builder.verbs.options import make_selector, with_selectors
from builder.verbs.session import Session, show_progress
from builder.writing import count, emit_json


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

    Exit codes: 0 all that is published is in the file; 2 nothing is.
    """
    if context.invoked_subcommand is not None:
        return
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
    parts = f"{count(len(report.images), 'name')}, {count(report.blobs, 'blob')}, {count(report.size, 'byte')}"
    session.out.print(f"{report.file}: {parts}", markup=False, soft_wrap=True)


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
    'verify REGISTRY/... --signed-as quay.io/mycompany/mydriver'.

    \b
    bundle load mydriver-1.4.0.tar --to registry.site.example:5000/mirror

    Exit codes: 0 all there; 16 not.
    """
    with show_progress(session.err, "parts sent") as progress:
        loaded = load_bundle(session.project, file, target, plain_http=plain_http, progress=progress)
    if as_json:
        session.out.file.write(emit_loaded_json(loaded))
    else:
        for item in loaded:
            why = f": {item.why}" if item.why else ""
            session.out.print(f"{item.status:<9} {item.name}{why}", markup=False, soft_wrap=True)
    return FailureClass.PUBLISH.exit_code if any(item.status == "conflict" for item in loaded) else 0


@bundle.command()
@click.option(
    "--to", "target", required=True, metavar="REPOSITORY", help="Repository for Tasks and Pipelines, without tag."
)
@click.option("--plain-http", is_flag=True, help="Speak to that registry without TLS.")
@click.option("--json", "as_json", is_flag=True, help="Print the names as JSON.")
@click.pass_obj
def tekton(session: Session, *, target: str, plain_http: bool, as_json: bool) -> None:
    """Send the Tasks and Pipelines of 'emit tekton' as Tekton bundles, for who references them and copies no file.

    Two images, by digest: Tasks, and Pipelines that name the Tasks of the first. Nothing of them is applied to a
    cluster; accounts and Secrets are ('emit tekton' writes them). Equal settings of versions.yaml give equal digests.

    \b
    bundle tekton --to quay.io/mycompany/pipelines

    Exit codes: 0 both are there; 2 versions.yaml has no 'tekton'; 7 the registry refuses or does not answer.
    """
    sent = send_bundles(session.project, parse_repository(target), plain_http=plain_http)
    if as_json:
        session.out.file.write(emit_json({"format": 1, "tasks": sent.tasks, "pipelines": sent.pipelines}))
        return
    for word, name in (("tasks", sent.tasks), ("pipelines", sent.pipelines)):
        session.out.print(f"{word:<10} {name}", markup=False, soft_wrap=True)
