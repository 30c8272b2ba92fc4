"""Writes a site: all of it into a new folder, which then takes the place of the old one in one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.host.swap import new_folder
from builder.site.addresses import Addresses
from builder.site.data import (
    emit_cell_data,
    emit_failures_data,
    emit_freshness_data,
    emit_matrix_data,
    emit_releases_data,
    emit_trends_data,
)
from builder.site.failures import find_causes, find_source_lines
from builder.site.freshness import measure_arrivals
from builder.site.pages import Pages
from builder.site.read import read_documents
from builder.site.releases import tell_releases
from builder.site.templates import open_templates, read_assets
from builder.site.trends import measure_trends
from builder.writing import emit_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from builder.host.progress import Progress
    from builder.site.facts import CellDocuments, SiteCell, SiteFacts
    from builder.site.statements import Told

MARKER = ".kmodsmith-site.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A site that was written: its folder, how many files, how many bytes."""

    folder: Path
    files: int
    size: int


State = Callable[["SiteCell"], "Told | None"]
"""Returns what is attested of a cell's image."""


def attest_nothing(cell: SiteCell) -> None:
    """Return what is attested where nobody could tell."""
    del cell


def write_site(
    facts: SiteFacts, folder: Path, *, work_dir: Path, progress: Progress, state: State = attest_nothing
) -> Written:
    """Write the site of facts.

    Args:
        facts: what it tells.
        folder: where it will be; what is there must be a site, or nothing.
        work_dir: where logs and reports of cells lie.
        progress: is told how many cells were written.
        state: gives what is attested of a cell.

    Raises:
        UsageError: the folder is not a site's.
        HostError: it cannot be written.
    """
    files = size = 0
    with new_folder(folder, MARKER) as new:
        for name, content in render_site(facts, work_dir=work_dir, progress=progress, state=state):
            file = new / name
            file.parent.mkdir(parents=True, exist_ok=True)
            written = content.encode(errors="replace")
            file.write_bytes(written)
            files, size = files + 1, size + len(written)
    return Written(folder=folder, files=files, size=size)


def render_site(
    facts: SiteFacts, *, work_dir: Path, progress: Progress, state: State = attest_nothing
) -> Iterator[tuple[str, str]]:
    """Yield the files of a site by name, from the top of the site; those of cells as they are made."""
    at = Addresses(facts)
    pages = Pages(open_templates(), facts, at)
    yield MARKER, emit_json({"format": _FORMAT, "builder": facts.builder_version})
    yield from ((f"assets/{name}", text) for name, text in read_assets().items())
    yield "index.html", pages.matrix()
    yield "index.json", emit_matrix_data(facts, at)
    causes = find_causes(facts)
    excerpts = {
        number: find_source_lines(read_documents(work_dir, cause.cells[0]).build_log, cause.failure)
        for number, cause in enumerate(causes)
    }
    yield "failures.html", pages.failures(causes, excerpts)
    yield "failures.json", emit_failures_data(facts, causes, excerpts)
    news = tell_releases(facts)
    yield "releases.html", pages.releases(news)
    yield "releases.json", emit_releases_data(facts, news)
    arrivals = measure_arrivals(facts)
    yield "freshness.html", pages.freshness(arrivals)
    yield "freshness.json", emit_freshness_data(facts, arrivals)
    trends = measure_trends(facts)
    yield "trends.html", pages.trends(trends)
    yield "trends.json", emit_trends_data(facts, trends)
    for number, cell in enumerate(facts.cells, start=1):
        yield from _render_cell(facts, pages, at, cell, replace(read_documents(work_dir, cell), told=state(cell)))
        progress(number, len(facts.cells))


def _render_cell(
    facts: SiteFacts, pages: Pages, at: Addresses, cell: SiteCell, documents: CellDocuments
) -> Iterator[tuple[str, str]]:
    failure = cell.evidence.failure if cell.evidence else None
    excerpt = find_source_lines(documents.build_log, failure) if failure else ""
    yield at.page(cell), pages.cell(cell, documents, excerpt)
    yield at.data(cell), emit_cell_data(facts, cell, documents, at)
    for kind, text in (("build", documents.build_log), ("boot", documents.boot_log)):
        if text:
            yield at.log(cell, kind), text
    for kind, text in documents.told.files.items() if documents.told else ():
        yield at.statement(cell, kind), text
