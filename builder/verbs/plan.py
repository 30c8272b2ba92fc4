"""The verb plan."""

from __future__ import annotations

from typing import Any

import click

from builder.plan.planning import BootOptions, plan_project
from builder.show.report import emit_plan_json
from builder.show.table import emit_plan_summary, emit_plan_table
from builder.verbs.options import BOOT_OPTION, RETRY_OPTION, make_selector, with_selectors
from builder.verbs.session import WIDE, Session


@click.command()
@with_selectors
@click.option("--force", is_flag=True, help="Plan to build even what is up to date.")
@RETRY_OPTION
@BOOT_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.pass_obj
def plan(
    session: Session, /, *, force: bool, retry_failed: bool, when: str | None, as_json: bool, **selectors: Any
) -> None:
    """Show what would be built, and why; builds nothing.

    \b
    plan                             the default group
    plan --group debian --json       everything, for a program
    plan --kernel '6.12*' --variant rt
    """
    planned = plan_project(
        session.project, make_selector(selectors), force=force, retry_failed=retry_failed, boot=BootOptions(when=when)
    )
    if as_json:
        session.out.file.write(emit_plan_json(planned.plan, planned.predicted_s, planned.workers))
        return
    session.out.print(emit_plan_table(planned.plan, wide=session.out.width >= WIDE))
    session.out.print(
        emit_plan_summary(planned.plan, planned.predicted_s, planned.workers), markup=False, soft_wrap=True
    )
