"""How the results of cells are told and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.build.result import exit_code_of as exit_code_of_cells
from builder.components.result import ComponentReport, exit_code_of
from builder.show.components import emit_component_causes, emit_component_results
from builder.show.junit import emit_junit
from builder.show.report import emit_results_json
from builder.show.table import emit_causes, emit_results_summary, emit_results_table
from builder.verbs.session import WIDE

if TYPE_CHECKING:
    from builder.build.runs import BuildReport
    from builder.verbs.session import Session


_NO_COMPONENTS = ComponentReport()


def tell_results(
    session: Session,
    report: BuildReport,
    *,
    as_json: bool | None,
    images: ComponentReport = _NO_COMPONENTS,
    is_kept: bool = False,
) -> int:
    """Print results (not if ``as_json`` is None), write them to the work folder, and return the exit code.

    Those of a run that did nothing are written only where somebody takes them from there (``is_kept``).
    """
    project = session.project
    as_text = emit_results_json(
        report.results, run_id=report.run_id or images.run_id, wall_s=report.wall_s + images.wall_s,
        components=images.results,
    )  # fmt: skip
    # A run of another selection may have written them last, and whoever reads them after this one believes them.
    if is_kept or report.run_id or images.run_id or any(result.decision.failed for result in report.results):
        (project.work_dir / "results.json").write_text(as_text)
        (project.work_dir / "junit.xml").write_text(emit_junit(report.results, images.results))
    if as_json:
        session.out.file.write(as_text)
    elif as_json is not None:
        _tell_cells(session, report)
        _tell_components(session, images)
    return exit_code_of(images.results, exit_code_of_cells(report.results))


def _tell_cells(session: Session, report: BuildReport) -> None:
    if report.results:
        session.out.print(emit_results_table(report.results, wide=session.out.width >= WIDE))
        if causes := emit_causes(report.results):
            session.out.print(causes, soft_wrap=True)
        session.out.print(emit_results_summary(report.results, report.wall_s), markup=False, soft_wrap=True)


def _tell_components(session: Session, images: ComponentReport) -> None:
    if images.results:
        session.out.print(emit_component_results(images.results, wide=session.out.width >= WIDE))
        if causes := emit_component_causes(images.results):
            session.out.print(causes, soft_wrap=True)
