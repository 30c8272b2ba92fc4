"""The verb build."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from builder.build.runs import BuildReport, build_project
from builder.components.result import ComponentReport
from builder.plan.planning import BootOptions
from builder.verbs.options import (
    BOOT_OPTION,
    COMPONENT_OPTION,
    RETRY_OPTION,
    choose_components,
    make_selector,
    with_selectors,
)
from builder.verbs.results import tell_results

if TYPE_CHECKING:
    from builder.plan.planning import FindElsewhere
    from builder.verbs.session import Session


@click.command()
@with_selectors
@COMPONENT_OPTION
@click.option("--force", is_flag=True, help="Build even what is up to date.")
@click.option("--jobs", type=click.IntRange(min=1), help="Cells at once; default: by cores and memory.")
@click.option("--locked", is_flag=True, help="Fail rather than refresh a lock whose packages the archive dropped.")
@click.option(
    "--unless-published", is_flag=True, help="Leave alone what its registry has already, made from the same inputs."
)
@click.option(
    "--compile-cache",
    type=click.Choice(("on", "off", "check")),
    default="on",
    help="off: compile without it; check: compile again without it what took something from it, and compare.",
)
@RETRY_OPTION
@BOOT_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def build(
    session: Session, /, *, components: tuple[str, ...], force: bool, jobs: int | None, locked: bool,
    unless_published: bool, compile_cache: str, retry_failed: bool, when: str | None, as_json: bool, **selectors: Any,
) -> int:  # fmt: skip
    """Build the driver container of every selected cell, and every component image, that is not up to date.

    Results are also written to results.json and junit.xml in the work folder. Killed or interrupted, the same
    command goes on where it was. What failed to compile, and would fail again because nothing of it changed, is told
    with its date and not compiled again. How long it will still take is told by what earlier runs took.

    \b
    build                                  the default group
    build --group debian --driver mydriver
    build --kernel '6.12*' --boot never
    build --retry-failed --jobs 2
    build --force --compile-cache check    prove that modules are the same without what earlier compiles left

    Exit codes: 0 all there; where cells failed in one class 10 toolkit, 11 compile, 12 symbol, 13 fit, 14 signature,
    15 boot, 17 infrastructure; 20 in several.
    """
    elsewhere: FindElsewhere | None = None
    if unless_published:
        from builder.publish.elsewhere import find_elsewhere  # noqa: PLC0415 - httpx takes long to import

        elsewhere = find_elsewhere
    chosen = choose_components(session.project, selectors, components)
    report = BuildReport(results=(), wall_s=0.0, run_id="")
    if not components:
        report = build_project(
            session.project, make_selector(selectors), session.err, force=force, jobs=jobs, locked=locked,
            retry_failed=retry_failed, boot=BootOptions(when=when), elsewhere=elsewhere,
            compile_cache=compile_cache,
        )  # fmt: skip
    images = ComponentReport()
    if chosen:
        from builder.components.runs import build_project_components  # noqa: PLC0415 - projects without pay nothing

        say = partial(session.err.print, markup=False, highlight=False, soft_wrap=True)
        images = build_project_components(session.project, chosen, say, force=force)
    return tell_results(session, report, as_json=as_json, images=images)
