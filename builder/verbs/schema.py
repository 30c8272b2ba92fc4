"""The verb schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from builder.certify.checklist import SCHEMA_NAME, emit_checklist_schema
from builder.config.described import describe_schema
from builder.emit.reference import emit_reference, emit_schema
from builder.host.places import write_below

if TYPE_CHECKING:
    from builder.verbs.session import Session


@click.command()
@click.option(
    "--write", is_flag=True, help="Write versions.schema.json, checklist.schema.json and docs/versions-yaml.md."
)
@click.option("--checklist", is_flag=True, help="Print that of checklist.yaml instead.")
@click.pass_obj
def schema(session: Session, /, *, write: bool, checklist: bool) -> None:
    """Print the JSON schema of versions.yaml, or of checklist.yaml, or write both and the reference page.

    \b
    schema
    schema --checklist
    schema --write

    Exit codes: 0 it is printed or written.
    """
    if not write:
        session.out.file.write(emit_checklist_schema() if checklist else emit_schema(describe_schema()))
        return
    folder = session.project.file.parent
    write_below(folder, "versions.schema.json", emit_schema(describe_schema()))
    write_below(folder, SCHEMA_NAME, emit_checklist_schema())
    write_below(folder, "docs/versions-yaml.md", emit_reference(describe_schema()))
