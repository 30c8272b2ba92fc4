"""The verbs about registries: publish, audit. What they do lives in ``builder.publishing``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from builder.cli import WIDE, make_selector, show_progress, with_selectors
from builder.errors import FailureClass

if TYPE_CHECKING:
    from builder.cli import Session


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
    command goes on. Secrets come from podman login, or registry.auth_files. Exit codes: 0 all there, 16 not.

    \b
    publish
    publish --group openshift-418 --driver mydriver
    publish --force 'mydriver-1.4.0/*' --reason 'the key of 1.4.0 leaked'
    """
    from builder.emit.publish import (  # noqa: PLC0415 - see builder.cli
        emit_publish_json,
        emit_publish_summary,
        emit_publish_table,
    )
    from builder.publishing import Force, publish_project  # noqa: PLC0415

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
    than there are now. unsigned: it lacks a signature by the key of publish.signer, or a statement. extra: nobody here
    knows the tag. unknown: no answer. Exit codes: 0 as it should be, 16 not.
    """
    from builder.audit import audit_project  # noqa: PLC0415
    from builder.emit.publish import emit_audit_json, emit_audit_summary, emit_audit_table  # noqa: PLC0415 - see builder.cli

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


VERBS = (publish, audit)
