"""The verb plan."""

from __future__ import annotations

from typing import Any

import click

from builder.components.decide import ComponentPlan
from builder.plan.decide import Plan
from builder.plan.planning import BootOptions, plan_project
from builder.show.components import emit_component_plan, emit_component_plan_summary
from builder.show.report import emit_plan_json
from builder.show.table import emit_plan_summary, emit_plan_table
from builder.verbs.options import (
    BOOT_OPTION,
    COMPONENT_OPTION,
    RETRY_OPTION,
    choose_components,
    make_selector,
    with_selectors,
)
from builder.verbs.session import WIDE, Session


@click.command()
@with_selectors
@COMPONENT_OPTION
@click.option("--force", is_flag=True, help="Plan to build even what is up to date.")
@RETRY_OPTION
@BOOT_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.pass_obj
def plan(
    session: Session, /, *, components: tuple[str, ...], force: bool, retry_failed: bool, when: str | None,
    as_json: bool, **selectors: Any,
) -> None:  # fmt: skip
    """Show what would be built, and why; builds nothing.

    \b
    plan                             the default group
    plan --group debian --json       everything, for a program
    plan --kernel '6.12*' --variant rt
    plan --component device-plugin
    """
    chosen = choose_components(session.project, selectors, components)
    planned = None
    if not components:
        planned = plan_project(
            session.project, make_selector(selectors), force=force, retry_failed=retry_failed,
            boot=BootOptions(when=when),
        )  # fmt: skip
    images = ComponentPlan()
    if chosen:
        from builder.components.planning import plan_components  # noqa: PLC0415 - projects without them pay nothing

        known = planned.images if planned else None
        images = plan_components(session.project, chosen, force=force, images=known).plan
    if as_json:
        plan, predicted_s, workers = (planned.plan, planned.predicted_s, planned.workers) if planned else _NO_CELLS
        session.out.file.write(emit_plan_json(plan, predicted_s, workers, images))
        return
    wide = session.out.width >= WIDE
    if planned:
        session.out.print(emit_plan_table(planned.plan, wide=wide))
        sentence = emit_plan_summary(planned.plan, planned.predicted_s, planned.workers)
        session.out.print(sentence, markup=False, soft_wrap=True)
    if images.decisions:
        session.out.print(emit_component_plan(images, wide=wide))
        session.out.print(emit_component_plan_summary(images), markup=False, soft_wrap=True)


_NO_CELLS = (Plan(decisions=()), 0.0, 1)
