"""The verb drift."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from builder.build.compare import compare_two
from builder.show.proof import emit_drift, emit_drift_basis
from builder.verbs.options import make_selector, with_selectors
from builder.writing import emit_json

if TYPE_CHECKING:
    from builder.verbs.session import Session


@click.command()
@click.argument("before")
@click.argument("after")
@with_selectors
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@click.pass_obj
def drift(session: Session, /, *, before: str, after: str, as_json: bool, **selectors: Any) -> None:
    """Show which symbols that a driver uses differ between the kernels BEFORE and AFTER.

    Binaries are compared: the symbols of the modules that are built, and what both kernels export. Removals come first;
    of each, the headers of AFTER are asked whether it became a macro or an inline function.

    \b
    drift --group debian 6.1.0-55-amd64 6.1.0-56-amd64

    Exit codes: 0 it is told, whether anything differs or not.
    """
    drifts = compare_two(session.project, make_selector(selectors), before, after)
    if as_json:
        rows = {driver: [asdict(item) for item in found.symbols] for driver, found in drifts.items()}
        session.out.file.write(emit_json(rows))
    else:
        session.out.print(emit_drift(drifts, before, after))
        session.out.print(emit_drift_basis(drifts), markup=False, soft_wrap=True)
