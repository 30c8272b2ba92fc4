"""The JSON behind every page: docs/site.md has its form. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from builder.show.quote import describe_quote
from builder.site.facts import READY, CellState
from builder.writing import emit_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.site.addresses import Addresses
    from builder.site.facts import CellDocuments, SiteCell, SiteFacts
    from builder.site.failures import Cause
    from builder.site.freshness import Arrival, Arrivals
    from builder.site.releases import ReleaseNews
    from builder.site.trends import Trends

FORMAT_VERSION = 1


def emit_matrix_data(facts: SiteFacts, addresses: Addresses) -> str:
    """Return drivers, cells and component images, with a count of each state."""
    counts = Counter(str(cell.state) for cell in facts.cells)
    return _emit(
        facts,
        {
            "counts": {state: counts[state] for state in CellState if counts[state]},
            "ready": sum(cell.state in READY for cell in facts.cells),
            "drivers": [asdict(driver) for driver in facts.drivers],
            "cells": [_describe_cell(cell, facts, addresses) for cell in facts.cells],
            "components": [
                {
                    "component": item.component, "arch": item.arch, "outcome": item.outcome, "image": item.image,
                    "digest": item.digest or None, "finished": item.finished,
                    "self_test": asdict(item.self_test) if item.self_test else None,
                    "failure": asdict(item.failure) if item.failure else None,
                }
                for item in facts.components
            ],
            "missing": [asdict(item) for item in facts.missing],
            "notes": list(facts.notes),
        },
    )  # fmt: skip


def _describe_cell(cell: SiteCell, facts: SiteFacts, addresses: Addresses) -> dict[str, Any]:
    return {
        "cell": cell.id,
        "driver": cell.driver,
        "driver_version": cell.version,
        "kernel": cell.kernel,
        "arch": cell.arch,
        "variant": cell.variant,
        "source": cell.source,
        "minors": list(facts.minors_of(cell)),
        "state": cell.state,
        "until": cell.until or None,
        "ready": cell.state in READY,
        "steps": list(cell.steps),
        "reason": cell.reason or None,
        "why": cell.why or None,
        "image": cell.image or None,
        "digest": cell.evidence.digest or None if cell.evidence else None,
        "page": addresses.page(cell),
    }


def emit_cell_data(facts: SiteFacts, cell: SiteCell, documents: CellDocuments, addresses: Addresses) -> str:
    """Return everything about one cell but its logs, which lie beside it."""
    return _emit(
        facts,
        {
            **_describe_cell(cell, facts, addresses),
            "key": cell.key or None,
            "releases": list(facts.releases_of.get((cell.source, cell.kernel), ())),
            "evidence": asdict(cell.evidence) if cell.evidence else None,
            "boot": asdict(cell.boot) if cell.boot else None,
            "boot_steps": [
                {"step": step, "code": code, "seconds": seconds} for step, code, seconds in documents.boot_steps
            ],
            "boot_facts": dict(documents.boot_facts),
            "boot_problems": list(documents.boot_problems),
            "published": [asdict(item) for item in cell.published],
        },
    )


def emit_failures_data(facts: SiteFacts, causes: Sequence[Cause], excerpts: Mapping[int, str]) -> str:
    """Return the causes; ``excerpts`` are the compiler's lines by the number of the cause."""
    rows = [
        {
            **asdict(cause.failure),
            "since": cause.since or None,
            "lines": excerpts.get(number) or None,
            "cells": [cell.id for cell in cause.cells],
            "last_good_kernel": cause.last_good or None,
            "first_bad_kernel": cause.kernel or None,
            "next_good_kernel": cause.next_good or None,
            "changes": [asdict(item) for item in cause.changes],
        }
        for number, cause in enumerate(causes)
    ]
    return _emit(facts, {"causes": rows})


def emit_releases_data(facts: SiteFacts, news: Sequence[ReleaseNews]) -> str:
    """Return releases with what they change, kernels, and how these differ from one to the next."""
    releases = [
        {
            "release": item.release,
            "arch": item.arch,
            "source": item.source,
            "verdict": item.verdict,
            "kernels": list(item.kernels),
            "new_kernels": list(item.new),
            "previous": item.previous or None,
            "ready": item.ready,
            "wanted": item.wanted,
            "lacking": [cell.id for cell in item.lacking],
            "streams": [asdict(row) for row in item.rows],
        }
        for item in news
    ]
    drift = [
        {
            "source": lineage.source,
            "series": lineage.series,
            "variant": lineage.variant,
            "arch": lineage.arch,
            "unknown_kernels": list(lineage.unknown),
            "steps": [asdict(step) for step in lineage.steps],
        }
        for lineage in facts.lineages
    ]
    return _emit(facts, {"releases": releases, "kernels": [asdict(row) for row in facts.kernels], "drift": drift})


def emit_freshness_data(facts: SiteFacts, arrivals: Arrivals) -> str:
    """Return hours from channel to image by month and cell, and what is waited for."""
    return _emit(
        facts,
        {
            "months": [asdict(item) for item in arrivals.months],
            "kernels": [asdict(item) for item in arrivals.kernels],
            "came": [_describe_arrival(item) for item in arrivals.came],
            "late": [_describe_arrival(item) for item in arrivals.late],
            "undated": arrivals.undated,
        },
    )


def _describe_arrival(item: Arrival) -> dict[str, Any]:
    return {
        "cell": item.cell.id,
        "kernel": item.cell.kernel,
        "seen": item.seen,
        "ready": item.ready or None,
        "by": item.by or None,
        "hours": round(item.hours, 3),
    }


def emit_trends_data(facts: SiteFacts, trends: Trends) -> str:
    """Return runs, stages, and what additions would cost."""
    return _emit(
        facts,
        {
            "runs": [asdict(item) for item in trends.runs],
            "stages": [asdict(item) for item in trends.stages],
            "quotes": [describe_quote(item) for item in facts.quotes],
        },
    )


def _emit(facts: SiteFacts, said: Mapping[str, Any]) -> str:
    made = f"{facts.made:%Y-%m-%dT%H:%M:%SZ}"
    return emit_json({"format": FORMAT_VERSION, "made": made, "builder": facts.builder_version, **said})
