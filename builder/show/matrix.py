"""Kernels, releases, discoveries and readiness, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from builder.show.publish import describe_result
from builder.show.table import format_duration, make_table
from builder.sources.openshift.changes import format_age
from builder.sources.release import ReleaseState
from builder.writing import count, emit_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from builder.kernel import KernelVersion
    from builder.plan.discovery import Discovery
    from builder.publish.nightly import NightlyReport
    from builder.publish.upgrade import Readiness
    from builder.sources.listing import KernelRow, ReleaseRow

FORMAT_VERSION = 1
_STATE_STYLE = {
    ReleaseState.COMPLETE: "green",
    ReleaseState.UNCONFIRMED: "",
    ReleaseState.TOOLKIT_DIFFERS: "bold red",
    ReleaseState.NO_TOOLKIT: "red",
    ReleaseState.KERNEL_UNKNOWN: "yellow",
    ReleaseState.UNREACHABLE: "yellow",
    ReleaseState.MALFORMED: "bold red",
    ReleaseState.WITHDRAWN: "red",
}
_PRESENCE_STYLE = {
    "ready": "green",
    "absent": "bold red",
    "stale": "red",
    "unsigned": "red",
    "other-key": "bold red",
    "unknown": "yellow",
    "not-wanted": "dim",
    "known-bad": "bold red",
    "no-kernel": "yellow",
    "disputed": "bold red",
    "withdrawn": "bold red",
}
# More changes than this of one kind are counted, not listed: the first discovery of a source has hundreds.
_MOST_LISTED = 20
_FEW = 4


def emit_kernel_table(rows: Sequence[KernelRow], *, now: datetime) -> RenderableType:
    """Return kernels, a row for each."""
    table = make_table("kernel", "variant", "rhel", "releases", "state", "toolkit", "seen for")
    for row in rows:
        table.add_row(
            row.kernel,
            row.variant,
            row.rhel,
            _shorten(row.releases),
            _states(row.states),
            _short_digest(row.toolkit) + (f" +{len(row.toolkits) - 1}" if len(row.toolkits) > 1 else ""),
            format_age(row.seen, now),
        )
    return table


def emit_release_table(rows: Sequence[ReleaseRow], *, now: datetime) -> RenderableType:
    """Return releases, a row for each operating system of each."""
    table = make_table("release", "arch", "stream", "state", "nodes run", "toolkit", "channels")
    for row in rows:
        channels = (f"{name} {format_age(since, now)}".strip() for name, since in row.channels.items())
        state = _states((row.state,))
        if row.stale:
            state.append(f"\nstale since {row.stale[:10]}", style="yellow")
        if row.disputed:
            state.append(f"\n{count(len(row.disputed) + 1, 'payload')}", style="bold red")
        table.add_row(
            row.release,
            row.arch,
            row.stream,
            state,
            "\n".join(row.runs),
            _short_digest(row.toolkit),
            "\n".join(channels),
        )
    return table


def emit_matrix_summary(kernels: Sequence[KernelRow], releases: Sequence[ReleaseRow]) -> str:
    """Return the rows in one sentence."""
    counts = Counter(row.state for row in releases)
    states = ", ".join(f"{counts[state]} {state}" for state in ReleaseState if counts[state])
    sentence = count(len(kernels), "kernel")
    number = len({(row.release, row.arch) for row in releases})
    return f"{sentence} of {count(number, 'release')} ({states})" if releases else sentence


def emit_matrix_json(kernels: Sequence[KernelRow], releases: Sequence[ReleaseRow], notes: Sequence[str]) -> str:
    """Return both views, whose fields are those of the rows, and what is to be said of their sources."""
    rows = {"kernels": [asdict(row) for row in kernels], "releases": [asdict(row) for row in releases]}
    return _dump({**rows, "notes": list(notes)})


def emit_kind_notes(left_out: Mapping[str, Sequence[KernelVersion]]) -> list[str]:
    """Return which kernels groups leave out because of the kinds of the releases that run them, a line for a group."""
    return [
        f"group {name!r} leaves out {count(len(kernels), 'kernel')} that only releases of other kinds run than it "
        f"includes: {', '.join(str(kernel) for kernel in kernels[:_FEW])}"
        f"{f' and {len(kernels) - _FEW} more' if len(kernels) > _FEW else ''}"
        for name, kernels in left_out.items()
        if kernels
    ]


def emit_discovery(discovery: Discovery) -> list[str]:
    """Return what changed, a line for each change; of many changes of one kind, the first ones and their number."""
    kinds = Counter(change.kind for change in discovery.changes)
    shown: Counter[str] = Counter()
    lines = []
    for change in discovery.changes:
        shown[change.kind] += 1
        if shown[change.kind] <= _MOST_LISTED:
            lines.append(str(change))
        elif shown[change.kind] == _MOST_LISTED + 1:
            lines.append(f"... and {kinds[change.kind] - _MOST_LISTED} more of: {change.kind} (--json lists all)")
    if discovery.cells:
        more = f" and {len(discovery.cells) - _FEW} more" if len(discovery.cells) > _FEW else ""
        lines.append(f"{count(len(discovery.cells), 'new cell')} to build: {', '.join(discovery.cells[:_FEW])}{more}")
    lines += [f"cannot be built: {cell}: {reason}" for cell, reason in list(discovery.refused.items())[:_FEW]]
    if len(discovery.refused) > _FEW:
        rest = count(len(discovery.refused) - _FEW, "more new cell")
        lines.append(f"... and {rest} that cannot be built (--json lists all)")
    lines += [*discovery.known, *discovery.complaints]
    if discovery.releases_read:
        lines.append(
            f"{count(discovery.releases_read, 'release')} read with {discovery.bytes_read} bytes, "
            f"{discovery.bytes_per_release} for each"
        )
    return lines


def emit_discovery_json(discovery: Discovery) -> str:
    return _dump(
        {
            "changes": [asdict(change) for change in discovery.changes],
            "new_cells": discovery.cells,
            "refused_cells": discovery.refused,
            "problems": discovery.problems,
            "known_problems": discovery.known,
            "complaints": discovery.complaints,
            "releases_read": discovery.releases_read,
            "bytes_read": discovery.bytes_read,
            "bytes_per_release": discovery.bytes_per_release,
        }
    )


def emit_readiness_table(rows: Sequence[Readiness], *, wide: bool) -> RenderableType:
    """Return readiness for a release, a row for each driver and kernel."""
    table = make_table(
        "arch", "stream", "variant", "kernel", "driver", "image", *(("name, or why not",) if wide else ())
    )
    for row in rows:
        table.add_row(
            row.arch,
            row.stream,
            row.variant,
            row.kernel or "?",
            row.driver,
            Text(row.presence, style=_PRESENCE_STYLE[row.presence]),
            *((f"{row.image}{f': {row.why}' if row.why else ''}",) if wide else ()),
        )
    return table


def emit_readiness_summary(version: str, rows: Sequence[Readiness]) -> str:
    """Return readiness in one sentence, and below it why there is nothing to look for, where there is not."""
    counts = Counter(row.presence for row in rows)
    missing = sum(row.is_missing for row in rows)
    found = ", ".join(f"{number} {presence}" for presence, number in sorted(counts.items()))
    sentence = f"{version}: {'not ready' if missing else 'ready'}; images of {count(len(rows), 'cell')}: {found}"
    reasons = dict.fromkeys(f"{row.release} {row.arch}: {row.why}" for row in rows if not row.kernel)
    return "\n".join([sentence, *reasons])


def emit_readiness_json(version: str, rows: Sequence[Readiness]) -> str:
    ready = not any(row.is_missing for row in rows)
    return _dump({"release": version, "ready": ready, "images": [asdict(row) for row in rows]})


def emit_nightly_json(report: NightlyReport) -> str:
    """Return a nightly run; the results of its cells are in results.json."""
    counts = Counter(result.status for result in report.build.results)
    return _dump(
        {
            "run": report.build.run_id,
            "wall_s": round(report.build.wall_s, 3),
            "discovery": json.loads(emit_discovery_json(report.discovery)),
            "cells": dict(sorted(counts.items())),
            "published": [describe_result(row) for row in report.published],
            "freshness": [asdict(row) for row in report.freshness],
        }
    )


def emit_freshness(report: NightlyReport) -> list[str]:
    """Return how long new images took, a line for each cell that this run made."""
    made = {result.decision.cell.id for result in report.build.results if result.duration_s}
    return [
        f"{row.cell}: {format_duration(row.hours * 3600)} from its channel to its image"
        for row in report.freshness
        if row.cell in made and row.hours is not None
    ]


def _states(states: Iterable[ReleaseState]) -> Text:
    text = Text()
    for number, state in enumerate(states):
        text.append("\n" if number else "").append(state, style=_STATE_STYLE[state])
    return text


def _shorten(words: Sequence[str]) -> str:
    return ", ".join(words) if len(words) <= _FEW else f"{words[0]} ... {words[-1]} ({len(words)})"


def _short_digest(pullspec: str) -> str:
    return pullspec.rpartition("sha256:")[2][:12]


def _dump(data: dict[str, Any]) -> str:
    return emit_json({"format": FORMAT_VERSION, **data})
