"""The verb log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from builder.errors import UsageError, escape_controls

if TYPE_CHECKING:
    from builder.verbs.session import Session


@click.command()
@click.argument("cell", required=False)
@click.pass_obj
def log(session: Session, cell: str | None) -> None:
    """Print the build log of a cell (its id, or a kernel); without one, of the last cell that failed.

    \b
    log
    log mydriver-1.4.0/6.1.0-56-amd64
    log 6.1.0-56-amd64

    Exit codes: 0 it is printed; 2 there is no such log.
    """
    cells = session.project.journal.cells
    wanted = [item for item in cells.values() if cell in {item.cell, item.kernel}] if cell else [
        item for item in cells.values() if item.failure
    ]  # fmt: skip
    if not wanted:
        raise UsageError(f"no build of {cell!r} is known" if cell else "no failed build is known")
    latest = max(wanted, key=lambda item: item.finished)
    file = session.project.work_dir / latest.log
    if not file.is_file():
        raise UsageError(f"the log {file} is no longer there")
    text = file.read_text(errors="replace")
    # A driver's compile wrote it: what it says to a terminal would be obeyed. Files and other programs get it whole.
    session.out.file.write(escape_controls(text.replace("\r\n", "\n")) if session.out.is_terminal else text)
