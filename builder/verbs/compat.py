"""The verb compat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from builder.build.compare import compare_kernels
from builder.show.proof import emit_compat, emit_compat_json
from builder.verbs.options import make_selector, with_selectors

if TYPE_CHECKING:
    from builder.verbs.session import Session


@click.command()
@with_selectors
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
@click.pass_obj
def compat(session: Session, /, *, as_json: bool, **selectors: Any) -> None:
    """On which other kernels would the built modules load, by symbol CRCs, and where not, and why?

    A row for each kernel that was compiled for, a column for each kernel that is asked about; where they do not fit
    side by side, the columns go on below. It changes nothing:
    kmodsmith compiles for each kernel.

    \b
    compat --group debian --arch x86_64 --variant standard

    Exit codes: 0 it is told, whether they would load or not.
    """
    verdicts = compare_kernels(session.project, make_selector(selectors))
    if as_json:
        session.out.file.write(emit_compat_json(verdicts))
    else:
        session.out.print(emit_compat(verdicts, width=session.out.width))
