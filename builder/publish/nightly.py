"""Verb nightly: discover, build and publish what is missing, and say how long kernels took from channel to image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.build.runs import BuildReport, build_project
from builder.evidence.records import CellOutcome
from builder.host.progress import no_progress
from builder.plan.discovery import Discovery, discover_project
from builder.plan.planning import BootOptions
from builder.publish.cells import NO_FORCE, publish_project
from builder.publish.elsewhere import find_elsewhere
from builder.publish.index import publish_indexes
from builder.publish.result import LOCAL, PublishStatus
from builder.sources.openshift.changes import parse_date

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from builder.build.result import CellResult
    from builder.host.progress import Progress
    from builder.plan.matrix import Selector
    from builder.plan.project import Project
    from builder.publish.result import PublishResult

_HOUR_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How long a cell's image took: ``seen`` in a channel, ``ready`` (both UTC), and the hours between.

    ``seen`` is empty where the kernel was there before the first look, ``ready`` where there is no image.
    """

    cell: str
    kernel: str
    seen: str
    ready: str
    hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyReport:
    discovery: Discovery
    build: BuildReport
    published: tuple[PublishResult, ...]
    """What was published, or why not, for every selected cell; empty where no driver has a registry."""
    freshness: tuple[Freshness, ...]

    @property
    def missing(self) -> tuple[PublishResult, ...]:
        """What is wanted and not in its registry, as far as is known: a night with any of it is no success."""
        return tuple(item for item in self.published if item.is_failure or item.is_waiting)


def run_nightly(
    project: Project,
    selector: Selector,
    err: Console,
    *,
    jobs: int | None = None,
    retry_failed: bool = False,
    progress: Progress = no_progress,
) -> NightlyReport:
    """Bring the lock and then every selected cell up to date; does nothing where nothing changed.

    A source that does not answer does not keep the rest from being built.

    Raises:
        BusyError: another run is at work in this project.
    """
    discovery = discover_project(project, progress=progress)
    current = project.reread()
    report = build_project(
        current, selector, err, force=False, jobs=jobs, locked=False, retry_failed=retry_failed, boot=BootOptions(),
        elsewhere=find_elsewhere,
    )  # fmt: skip
    published = _publish(current, selector)
    freshness = tuple(measure_freshness(current, report.results))
    for row in freshness:
        if report.run_id and row.ready and row.hours is not None and _was_built(report.results, row.cell):
            current.journal.note("ready", cell=row.cell, kernel=row.kernel, seen=row.seen, ready=row.ready)
    return NightlyReport(discovery=discovery, build=report, published=published, freshness=freshness)


def _publish(project: Project, selector: Selector) -> tuple[PublishResult, ...]:
    """Publish what is there, where versions.yaml names a registry for it, and say of every other cell why it is not."""
    if all(driver.image_name.startswith(LOCAL) for driver in project.config.drivers):
        return ()
    current = project.reread()
    results = publish_project(current, selector)
    indexes = publish_indexes(current, results, NO_FORCE)
    # That images are not signed is no news of a night.
    return (*results, *(item for item in indexes if item.status is not PublishStatus.LEFT_OUT))


def _was_built(results: Iterable[CellResult], cell: str) -> bool:
    return any(result.decision.cell.id == cell and result.duration_s for result in results)


def measure_freshness(project: Project, results: Iterable[CellResult]) -> list[Freshness]:
    """Return the freshness of every cell whose kernel comes from a channel."""
    evidence = project.reread().journal.cells
    rows = []
    for result in results:
        cell = result.decision.cell
        source = project.lock.sources.get(cell.source)
        run = source.node_kernel(cell.kernel) if source else None
        if run is None:
            continue
        built = evidence.get(cell.id)
        is_known = built is not None and built.outcome is CellOutcome.BUILT and not built.derived
        ready = built.finished if built and is_known and result.digest else ""
        hours = (parse_date(ready) - parse_date(run.seen)).total_seconds() / _HOUR_S if run.seen and ready else None
        rows.append(Freshness(cell=cell.id, kernel=cell.kernel.raw, seen=run.seen, ready=ready, hours=hours))
    return rows
