"""The verb plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from builder.components.decide import ComponentPlan
from builder.errors import UsageError
from builder.plan.decide import Plan
from builder.plan.planning import BootOptions, Planned, plan_project
from builder.shards.document import ShardWish
from builder.shards.grouping import MOST_SHARDS
from builder.show.components import emit_component_plan, emit_component_plan_summary
from builder.show.report import emit_plan_json
from builder.show.shards import describe_shards, emit_plan_sent, emit_shards_table
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
@click.option(
    "--to",
    "repository",
    metavar="REPOSITORY",
    help="Send the plan, with the project, to this repository of a registry: other machines carry it out.",
)
@click.option(
    "--shards", type=click.IntRange(1, MOST_SHARDS), help=f"With --to: machines at once; default: {MOST_SHARDS}."
)
@click.option(
    "--run", "run_word", metavar="WORD", help="With --to: a word of this run alone, so that its evidence is, too."
)
@click.option(
    "--no-publish", is_flag=True, help="With --to: images go nowhere, only evidence is left: for pull requests."
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="With --to: write results of a Tekton task there.",
)
@click.option("--plain-http", is_flag=True, help="With --to: speak to that registry without TLS.")
@click.option(
    "--quote",
    is_flag=True,
    help="Say what one more driver, channel or architecture would cost the group, by recorded builds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.pass_obj
def plan(
    session: Session, /, *, components: tuple[str, ...], force: bool, retry_failed: bool, when: str | None,
    repository: str | None, shards: int | None, run_word: str | None, no_publish: bool, results: Path | None,
    plain_http: bool, quote: bool, as_json: bool, **selectors: Any,
) -> None:  # fmt: skip
    """Show what would be built, and why; builds nothing.

    With --to, what the registries of the drivers lack is cut into shards by the time that it will take, and the plan
    goes into a registry with all files of the project that it needs. 'shard' carries out one shard, on any machine, and
    'gate' tells what came of all: docs/many-machines.md. What this machine has built does not count then.

    With --quote, nothing is planned: what one more driver, channel or architecture would cost the group (time,
    processors, bytes) is worked out from builds that are on record, and where none tells, that is said.

    \b
    plan                             the default group
    plan --group debian --json       everything, for a program
    plan --kernel '6.12*' --variant rt
    plan --component device-plugin
    plan --group debian --to quay.io/mycompany/plans --shards 8
    plan --quote --group debian      what one more driver, channel or architecture would cost

    Exit codes: 0 it is shown, whatever there is to do, or sent; 2 the project cannot be sent: files lie outside of it,
    or secrets in it; 7 a registry does not answer.
    """
    if quote:
        is_alone = not (components or force or retry_failed or when or repository)
        _quote(session, selectors, as_json=as_json, is_alone=is_alone)
        return
    if repository is not None:
        wish = ShardWish(
            shards=shards or MOST_SHARDS, publish=not no_publish, run=run_word or "", boot=when,
        )  # fmt: skip
        if force or retry_failed:
            raise UsageError(
                "--to plans what registries lack, whatever was built or failed here: no --force, no --retry-failed"
            )
        _send(
            session, selectors, components, wish, repository=repository, results=results, plain_http=plain_http,
            as_json=as_json,
        )  # fmt: skip
        return
    if shards or run_word or no_publish or results or plain_http:
        raise UsageError(
            "--shards, --run, --no-publish, --results and --plain-http are for plans that are sent",
            hint="say where: --to REPOSITORY",
        )
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
        session.out.file.writelines(emit_plan_json(plan, predicted_s, workers, images))
        return
    _show(session, planned, images)


def _show(session: Session, planned: Planned | None, images: ComponentPlan) -> None:
    wide = session.out.width >= WIDE
    if planned:
        session.out.print(emit_plan_table(planned.plan, wide=wide))
        sentence = emit_plan_summary(planned.plan, planned.predicted_s, planned.workers)
        session.out.print(sentence, markup=False, soft_wrap=True)
    if images.decisions:
        session.out.print(emit_component_plan(images, wide=wide))
        session.out.print(emit_component_plan_summary(images), markup=False, soft_wrap=True)


def _quote(session: Session, selectors: dict[str, Any], *, as_json: bool, is_alone: bool) -> None:
    from builder.plan.quoting import quote_groups  # noqa: PLC0415 - plans need none of it
    from builder.show.quote import emit_quotes, emit_quotes_json  # noqa: PLC0415

    if not is_alone or any(value for name, value in selectors.items() if name != "group"):
        raise UsageError("--quote is about a whole group: give it --group and --json, and nothing else")
    quotes = quote_groups(session.project, [selectors.get("group") or session.project.config.default_group])
    if as_json:
        session.out.file.write(emit_quotes_json(quotes))
    else:
        session.out.print(emit_quotes(quotes))


def _send(
    session: Session, selectors: dict[str, Any], names: tuple[str, ...], wish: ShardWish, *, repository: str,
    results: Path | None, plain_http: bool, as_json: bool,
) -> None:  # fmt: skip
    from builder.shards.artefact import open_plan_registry, parse_repository, write_name  # noqa: PLC0415 - httpx takes long to import
    from builder.shards.outputs import plan_outputs, write_outputs  # noqa: PLC0415
    from builder.shards.planning import plan_shards, select, send_plan  # noqa: PLC0415

    project, place = session.project, parse_repository(repository)
    chosen = choose_components(project, selectors, names)
    selection = select(make_selector(selectors), chosen, has_cells=not names, group=project.config.default_group)
    sharded = plan_shards(project, selection, wish)
    with open_plan_registry(project, place, plain_http=plain_http) as registry:
        name = write_name(send_plan(project, sharded.document, registry, place))
    write_outputs(results, plan_outputs(name, sharded.document))
    predicted_s = max((shard.predicted_s for shard in sharded.document.shards), default=0.0)
    if as_json:
        more = {"artifact": name, "shards": describe_shards(sharded.document)}
        session.out.file.writelines(emit_plan_json(sharded.plan, predicted_s, 1, sharded.images, more=more))
        return
    wide = session.out.width >= WIDE
    if sharded.plan.decisions:
        session.out.print(emit_plan_table(sharded.plan, wide=wide))
    if sharded.images.decisions:
        session.out.print(emit_component_plan(sharded.images, wide=wide))
    if sharded.document.shards:
        session.out.print(emit_shards_table(sharded.document))
    for line in emit_plan_sent(sharded.document, name):
        session.out.print(line, markup=False, soft_wrap=True)


_NO_CELLS = (Plan(decisions=()), 0.0, 1)
