"""Why a node has its drivers, for people and for programs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.writing import emit_json

if TYPE_CHECKING:
    from builder.components.explain import ExplainedNode

FORMAT_VERSION = 1


def emit_explanation(found: ExplainedNode) -> str:
    """Return sentences; several drivers have a heading each."""
    lines = [f"As of {found.at}:"] if found.at else []
    if not found.drivers:
        lines.append(f"The cluster has no such {found.kind}: nothing asks for a driver.")
    for one in found.drivers:
        lines += [f"{one.name}:"] if len(found.drivers) > 1 else []
        lines += one.sentences
    return "\n".join(lines)


def emit_explanation_json(found: ExplainedNode) -> str:
    drivers = [{"name": one.name, "state": one.state, "sentences": list(one.sentences)} for one in found.drivers]
    return emit_json(
        {
            "format": FORMAT_VERSION,
            "node": found.node,
            "kind": found.kind,
            "at": found.at,
            "ready": found.is_concerned and found.is_ready,
            "drivers": drivers,
        }
    )
