"""The verb shard: one machine's part of a plan; the work is done in ``builder/shards/running.py``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder import __version__
from builder.errors import EXIT_OK, FailureClass, KmodsmithError
from builder.evidence.journal import time_stamp
from builder.shards.artefact import open_plan_registry, parse_plan_name, write_name
from builder.shards.attached import read_files_to_attach
from builder.shards.evidence import ShardEvidence
from builder.shards.outputs import evidence_outputs, write_outputs
from builder.shards.running import check_shard, open_planned, run_shard
from builder.shards.telling import cell_rows, image_rows, summarize
from builder.show.publish import emit_publish_summary, emit_publish_table
from builder.verbs.results import tell_results
from builder.verbs.session import WIDE, Session

if TYPE_CHECKING:
    from builder.plan.project import Project
    from builder.shards.artefact import FetchedPlan, PlanRegistry
    from builder.shards.document import PlannedShard
    from builder.shards.running import ShardReport


@click.command()
@click.option(
    "--plan", "plan_name", required=True, metavar="REF", help="What 'plan --to' told: oci:REPOSITORY@sha256:..."
)
@click.option("--shard", "number", required=True, type=click.IntRange(min=0), help="Which of its shards.")
@click.option("--jobs", type=click.IntRange(min=1), help="Cells at once; default: by cores and memory.")
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write results of a Tekton task there: EVIDENCE_ARTIFACT, summary, TEST_OUTPUT.",
)
@click.option("--plain-http", is_flag=True, help="Speak to the plan's registry without TLS.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def shard(
    session: Session, /, *, plan_name: str, number: int, jobs: int | None, results: Path | None, plain_http: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Carry out one shard of a plan: build, prove, sign, boot and publish its cells, and leave evidence.

    The project comes out of the registry, by digest, with the plan: no checkout is needed. Killed, the same command
    goes on, on this machine or another: what its registry has is not made again. Evidence goes beside the plan, for
    'gate'. Exit codes: as build; 16 if an image could not be published; 2 if this machine would make other images than
    the plan means; 7 a registry.

    \b
    shard --plan oci:quay.io/mycompany/plans@sha256:... --shard 3
    shard --plan "$PLAN" --shard 3 --results /tekton/results --json
    """
    place = parse_plan_name(plan_name)
    with open_plan_registry(session.project, place, plain_http=plain_http) as registry:
        plan = registry.fetch_plan(place)
        wanted = plan.document.shard(number)
        work = _Shard(session, plan, wanted, registry, results)
        try:
            project = open_planned(session.project, plan, registry)
            check_shard(project, plan.document, wanted)
            report = run_shard(project, plan.document, wanted, session.err, jobs=jobs)
        except KmodsmithError as error:
            work.leave_error(error)
            raise
        return work.tell(project, report, as_json=as_json)


class _Shard:
    """One run of the verb: when it began, and where it tells what came of it."""

    def __init__(
        self, session: Session, plan: FetchedPlan, shard: PlannedShard, registry: PlanRegistry, results: Path | None
    ) -> None:
        self._session, self._plan, self._shard, self._registry = session, plan, shard, registry
        self._results = results
        self._started, self._clock = time_stamp(), time.monotonic()

    def leave_error(self, error: KmodsmithError) -> None:
        """Leave behind why nothing came of the shard, if the registry takes it; the error is told in any case."""
        try:
            self._leave(self._evidence(error.exit_code, error=error.message), None)
        except KmodsmithError as further:
            self._say(f"no evidence could be left: {further.message}")

    def tell(self, project: Project, report: ShardReport, *, as_json: bool) -> int:
        """Print what came of it, leave it behind, and return the exit code."""
        local = Session(project=project, out=self._session.out, err=self._session.err)
        project.work_dir.mkdir(parents=True, exist_ok=True)
        code = tell_results(local, report.build, as_json=as_json, images=report.images, is_kept=True)
        if report.published and not as_json:
            wide = self._session.out.width >= WIDE
            self._session.out.print(emit_publish_table(report.published, wide=wide))
            self._session.out.print(emit_publish_summary(report.published), markup=False, soft_wrap=True)
        if code == EXIT_OK and any(item.is_failure for item in report.published):
            code = FailureClass.PUBLISH.exit_code
        self._leave(self._evidence(code, report), project)
        return code

    def _evidence(self, code: int, report: ShardReport | None = None, *, error: str = "") -> ShardEvidence:
        return ShardEvidence(
            plan=self._plan.name.reference,
            who=str(self._shard.number),
            arch=self._shard.arch,
            kmodsmith=__version__,
            run=report.build.run_id or report.images.run_id if report else "",
            started=self._started,
            finished=time_stamp(),
            wall_s=round(time.monotonic() - self._clock, 3),
            exit_code=code,
            error=error[:16_000],
            cells=cell_rows(report.build.results, report.published) if report else (),
            components=image_rows(report.images.results, report.published) if report else (),
        )

    def _leave(self, evidence: ShardEvidence, project: Project | None) -> None:
        more = read_files_to_attach(project.work_dir, evidence) if project else []
        name = write_name(self._registry.push_evidence(self._plan, evidence.who, evidence, more))
        rows = [*evidence.cells, *evidence.components]
        bad = sum(row.failure is not None for row in rows)
        outputs = evidence_outputs(
            name, summary=summarize(evidence), code=evidence.exit_code, good=len(rows) - bad, bad=bad, warnings=0,
            finished=evidence.finished,
        )  # fmt: skip
        write_outputs(self._results, outputs)
        self._say(f"evidence  {name}")

    def _say(self, sentence: str) -> None:
        self._session.err.print(sentence, markup=False, highlight=False, soft_wrap=True)
