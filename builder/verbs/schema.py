"""The verb schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from builder.emit.reference import emit_reference, emit_schema
from builder.host.places import write_below

if TYPE_CHECKING:
    from builder.verbs.session import Session


@click.command()
@click.option("--write", is_flag=True, help="Write versions.schema.json and docs/versions-yaml.md.")
@click.pass_obj
def schema(session: Session, *, write: bool) -> None:
    """Print the JSON schema of versions.yaml, or write it and the reference page.

    \b
    schema
    schema --write

    Exit codes: 0 it is printed or written.
    """
    if not write:
        session.out.file.write(emit_schema())
        return
    folder = session.project.file.parent
    write_below(folder, "versions.schema.json", emit_schema())
    write_below(folder, "docs/versions-yaml.md", emit_reference())
