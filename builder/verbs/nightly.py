"""The verb nightly."""

from __future__ import annotations

from typing import Any

import click

from builder.errors import FailureClass
from builder.plan.discovery import complain
from builder.publish.nightly import run_nightly
from builder.show.matrix import emit_discovery, emit_freshness, emit_nightly_json
from builder.show.publish import emit_publish_summary
from builder.verbs.options import RETRY_OPTION, make_selector, with_selectors
from builder.verbs.results import tell_results
from builder.verbs.session import Session, show_progress


@click.command()
@with_selectors
@click.option("--jobs", type=click.IntRange(min=1), help="Cells at once; default: by cores and memory.")
@RETRY_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def nightly(session: Session, /, *, jobs: int | None, retry_failed: bool, as_json: bool, **selectors: Any) -> int:
    """Discover, then build, prove, sign, boot and publish what is missing, and report how fresh it is.

    Safe to run every hour: where nothing changed, nothing is done. What came of it is in nightly.json, results.json and
    junit.xml of the work folder. known_problems of versions.yaml are told and decide no exit code.

    \b
    nightly
    nightly --group openshift-418

    Exit codes: as build; 16 if an image that is wanted is not in its registry in the end, or waits for one that is not:
    each is named; 7 if all was done but a source did not answer.
    """
    project = session.project
    with show_progress(session.err, "releases read") as progress:
        report = run_nightly(
            project, make_selector(selectors), session.err, jobs=jobs, retry_failed=retry_failed, progress=progress
        )
    as_text = emit_nightly_json(report)
    project.work_dir.mkdir(parents=True, exist_ok=True)
    (project.work_dir / "nightly.json").write_text(as_text)
    if as_json:
        session.out.file.write(as_text)
    else:
        for line in emit_discovery(report.discovery):
            session.out.print(line, markup=False, soft_wrap=True)
    code = tell_results(session, report.build, as_json=None if as_json else False)
    for line in () if as_json else emit_freshness(report):
        session.out.print(line, markup=False, soft_wrap=True)
    if report.published and not as_json:
        session.out.print(emit_publish_summary(report.published), markup=False, soft_wrap=True)
    for item in report.missing:
        session.err.print(f"not in its registry: {item.names[0]}: {item.why}", markup=False, soft_wrap=True)
    if code == 0 and report.missing:
        code = FailureClass.PUBLISH.exit_code
    if code == 0 and (problem := complain(report.discovery)):
        raise problem
    return code
