"""The verb site. The work is done in ``builder/site/``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.errors import UsageError
from builder.site.facts import READY
from builder.site.read import read_facts, read_statements
from builder.site.write import write_site
from builder.verbs.session import Session, show_progress
from builder.writing import count, emit_json

if TYPE_CHECKING:
    from builder.site.facts import SiteFacts
    from builder.site.write import Written

FORMAT_VERSION = 1


@click.command()
@click.option(
    "--group", "groups", multiple=True, help="Only cells of this group of versions.yaml; repeatable. Default: all."
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("site"), show_default=True,
    help="Where the site will be: a site that is there is replaced in one step, and no other folder is touched.",
)  # fmt: skip
@click.option(
    "--made", metavar="TIME",
    help="The time (UTC, such as 2026-11-27T07:00:00Z) that pages say and count to; default: now.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was written, and what is missing, as JSON.")
@click.pass_obj
def site(session: Session, /, *, groups: tuple[str, ...], output: Path, made: str | None, as_json: bool) -> None:
    """Write the site: pages of all that is on record, to be looked at in a browser and sent to others.

    One folder that works from a file system, from object storage and as an artefact of CI: no server, no network, no
    foreign script. Everything is read from versions.yaml, the lock, the journal and the container store; no registry
    and no kernel source is asked. What is missing is told, with the command that brings it. A JSON lies beside each
    page; docs/site.md has its form. Exit codes: 0 written, 2 the folder is somebody else's, or there is no such group;
    3 mistakes in versions.yaml; 6 it cannot be written.

    \b
    site                                 all groups, into ./site
    site --group debian --output /srv/www/drivers
    site --made 2026-11-27T07:00:00Z     the same facts give the same bytes
    """
    facts = read_facts(session.project, groups, made=_read_time(made))
    with show_progress(session.err, "cells") as progress:
        written = write_site(
            facts, output, work_dir=session.project.work_dir, progress=progress,
            state=lambda cell: read_statements(session.project, cell),
        )  # fmt: skip
    if as_json:
        session.out.file.write(_emit_json(facts, written))
        return
    ready = sum(cell.state in READY for cell in facts.cells)
    sentence = f"{written.folder / 'index.html'}: {count(len(facts.cells), 'cell')}, {ready} of them ready"
    session.out.print(sentence, markup=False, soft_wrap=True)
    for item in facts.missing:
        session.err.print(f"missing: {item.what}: {item.why}; {item.command}", markup=False, soft_wrap=True)


def _read_time(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time, such as 2026-11-27T07:00:00Z") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _emit_json(facts: SiteFacts, written: Written) -> str:
    missing = [{"what": item.what, "why": item.why, "command": item.command} for item in facts.missing]
    return emit_json(
        {
            "format": FORMAT_VERSION,
            "folder": str(written.folder),
            "files": written.files,
            "bytes": written.size,
            "cells": len(facts.cells),
            "ready": sum(cell.state in READY for cell in facts.cells),
            "missing": missing,
        }
    )
