"""The verb audit."""

from __future__ import annotations

from typing import Any

import click

from builder.errors import FailureClass
from builder.publish.audit import audit_project
from builder.show.publish import emit_audit_json, emit_audit_summary, emit_audit_table
from builder.verbs.options import make_selector, with_selectors
from builder.verbs.session import WIDE, Session, show_progress


@click.command()
@with_selectors
@click.option("--json", "as_json", is_flag=True, help="Print every tag as JSON.")
@click.pass_obj
def audit(session: Session, /, *, as_json: bool, **selectors: Any) -> int:
    """Compare what registries have with what was published; changes nothing.

    missing: a tag is not there. different: it stands for another image than was published, or for one of other inputs
    than there are now, or an index lacks published cells. unsigned: it lacks a signature by the key of
    publish.signer, or a statement. waiting: a tag of several architectures, whose images are not all there. extra:
    nobody here knows the tag. unknown: no answer.

    \b
    audit
    audit --group openshift-418 --driver mydriver --json

    Exit codes: 0 as it should be, or a list waits only for what versions.yaml acknowledges; 16 not.
    """
    with show_progress(session.err, "tags compared") as progress:
        audits = audit_project(session.project, make_selector(selectors), progress=progress)
    if as_json:
        session.out.file.write(emit_audit_json(audits))
    else:
        if any(item.drift != "none" for item in audits):
            session.out.print(emit_audit_table(audits, wide=session.out.width >= WIDE))
        session.out.print(emit_audit_summary(audits), markup=False, soft_wrap=True)
    return FailureClass.PUBLISH.exit_code if any(item.is_drift for item in audits) else 0
