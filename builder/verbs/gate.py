"""The verb gate: what came of a plan; the work is done in ``builder/shards/judging.py``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.live import Live

from builder import __version__
from builder.errors import UsageError
from builder.evidence.journal import time_stamp
from builder.shards.artefact import GATE, open_plan_registry, parse_plan_name, write_name
from builder.shards.attached import read_files_to_attach
from builder.shards.evidence import ShardEvidence
from builder.shards.judging import collect, judge
from builder.shards.outputs import evidence_outputs, write_outputs
from builder.shards.running import open_planned
from builder.shards.telling import cell_rows, image_rows, summarize
from builder.shards.watching import watch
from builder.show.publish import emit_publish_table
from builder.show.shards import emit_missing, emit_progress
from builder.verbs.results import tell_results
from builder.verbs.session import WIDE, Session

if TYPE_CHECKING:
    from builder.shards.artefact import FetchedPlan, PlanRegistry
    from builder.shards.judging import Collected


@click.command()
@click.option(
    "--plan", "plan_name", required=True, metavar="REF", help="What 'plan --to' told: oci:REPOSITORY@sha256:..."
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write results of a Tekton task there: EVIDENCE_ARTIFACT, summary, TEST_OUTPUT.",
)
@click.option(
    "--watch",
    "is_watching",
    is_flag=True,
    help="Wait until all shards left evidence, and show them as one table; interrupted, they go on.",
)
@click.option("--for", "minutes", type=click.IntRange(min=0), metavar="MINUTES", help="With --watch: no longer.")
@click.option("--plain-http", is_flag=True, help="Speak to the plan's registry without TLS.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def gate(
    session: Session, /, *, plan_name: str, results: Path | None, is_watching: bool, minutes: int | None,
    plain_http: bool, as_json: bool,
) -> int:  # fmt: skip
    """Tell what came of a plan, and write lists and indexes: green only if all that it wants is there.

    Reads registries alone: the evidence of every shard, and each image, which must be there, made of the inputs that
    the plan says, and signed where versions.yaml wants it. A shard that left nothing is told. Results are as those of
    build, also in results.json and junit.xml of the work folder. Exit codes: as build; 16 an image, list or index is
    missing; 17 a shard left no evidence; 7 a registry gave no answer, so nothing is known.

    \b
    gate --plan oci:quay.io/mycompany/plans@sha256:...
    gate --plan "$PLAN" --results /tekton/results --json
    gate --plan "$PLAN" --watch      as one table, from any machine, while they are at work
    """
    if minutes is not None and not is_watching:
        raise UsageError("--for is for --watch")
    place = parse_plan_name(plan_name)
    started, clock = time_stamp(), time.monotonic()
    with open_plan_registry(session.project, place, plain_http=plain_http) as registry:
        plan = registry.fetch_plan(place)
        project = open_planned(session.project, plan, registry)
        collected = _follow(session, registry, plan, minutes) if is_watching else collect(registry, plan)
        judgement = judge(project, plan, collected)
        project.work_dir.mkdir(parents=True, exist_ok=True)
        local = Session(project=project, out=session.out, err=session.err)
        code = judgement.exit_code(
            tell_results(local, judgement.build, as_json=as_json, images=judgement.images, is_kept=True)
        )
        if judgement.further and not as_json:
            table = emit_publish_table(judgement.further, wide=session.out.width >= WIDE, title="list or index")
            session.out.print(table)
        for line in emit_missing(judgement.missing):
            session.err.print(line, markup=False, highlight=False, soft_wrap=True)
        evidence = ShardEvidence(
            plan=place.reference,
            who=GATE,
            arch=project.build_arch,
            kmodsmith=__version__,
            started=started,
            finished=time_stamp(),
            wall_s=round(time.monotonic() - clock, 3),
            exit_code=code,
            error="; ".join(judgement.missing.values())[:16_000],
            cells=cell_rows(judgement.build.results, ()),
            components=image_rows(judgement.images.results, ()),
        )
        name = write_name(
            registry.push_evidence(plan, GATE, evidence, read_files_to_attach(project.work_dir, evidence))
        )
    rows = [*evidence.cells, *evidence.components]
    bad = sum(row.failure is not None for row in rows)
    write_outputs(
        results,
        evidence_outputs(
            name, summary=summarize(evidence), code=code, good=len(rows) - bad, bad=bad,
            warnings=len(judgement.missing), finished=evidence.finished,
        ),
    )  # fmt: skip
    session.err.print(f"evidence  {name}", markup=False, highlight=False, soft_wrap=True)
    return code


def _follow(session: Session, registry: PlanRegistry, plan: FetchedPlan, minutes: int | None) -> Collected:
    """Show the shards of a plan until all left evidence: a table that changes in a terminal, lines elsewhere."""
    document = plan.document
    told: set[int] = set()

    def describe(collected: Collected) -> dict[int, tuple[str, str]]:
        done = {number: (item.evidence.finished, summarize(item.evidence)) for number, item in collected.found.items()}
        return done | {number: ("", why) for number, why in collected.wrong.items()}

    def tell(collected: Collected) -> None:
        for number, (finished, summary) in sorted(describe(collected).items()):
            if finished and number not in told:
                told.add(number)
                session.err.print(f"shard {number}: {summary}", markup=False, highlight=False, soft_wrap=True)

    patience_s = None if minutes is None else minutes * 60.0
    try:
        if not session.err.is_terminal:
            return watch(document, lambda: collect(registry, plan), tell, patience_s=patience_s)
        with Live(emit_progress(document, {}), console=session.err, auto_refresh=False) as live:

            def show(collected: Collected) -> None:
                live.update(emit_progress(document, describe(collected)), refresh=True)

            return watch(document, lambda: collect(registry, plan), show, patience_s=patience_s)
    except KeyboardInterrupt:
        again = f"the shards go on; look again: python -m builder gate --plan {write_name(plan.name)} --watch"
        session.err.print(again, markup=False, highlight=False, soft_wrap=True)
        raise
