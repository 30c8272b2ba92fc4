"""The verb prune."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from builder.build.prune import prune_project
from builder.components.planning import names_needed

if TYPE_CHECKING:
    from builder.verbs.session import Session


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.pass_obj
def prune(session: Session, *, dry_run: bool) -> None:
    """Remove toolkits, cells, component images and compile results that versions.yaml needs no more.

    Other projects that share the store make theirs again when they need them. Of the compile cache, which projects
    share, goes what no compile used for 60 days.

    \b
    prune

    Exit codes: 0 they are removed; 5 another run uses the store.
    """
    names = prune_project(session.project, dry_run=dry_run, further=partial(names_needed, session.project))
    for name in names:
        session.out.print(name, markup=False, soft_wrap=True)
    session.out.print(f"{len(names)} {'would be ' if dry_run else ''}removed", markup=False, soft_wrap=True)
