"""Plans and results as JSON, the form for CI and other programs. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from builder.evidence.clusters import cluster
from builder.show.components import describe_component_decision, describe_component_result
from builder.show.table import failures_of
from builder.writing import emit_json, emit_json_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.build.result import CellResult
    from builder.components.decide import ComponentPlan
    from builder.components.result import ComponentResult
    from builder.plan.decide import Decision, Plan

FORMAT_VERSION = 1


def emit_plan_json(
    plan: Plan,
    predicted_s: float | None,
    workers: int,
    components: ComponentPlan | None = None,
    *,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[str]:
    """Yield the plan, cell by cell; ``predicted_s`` is null while there are no recorded timings.

    ``more`` is put beside the rest.
    """
    counts = Counter(decision.action for decision in plan.decisions)
    return emit_json_parts(
        {
            "format": FORMAT_VERSION,
            "counts": dict(sorted(counts.items())),
            "predicted_s": predicted_s,
            "workers": workers,
            "cells": map(_decision, plan.decisions),
            "components": [describe_component_decision(item) for item in (components.decisions if components else ())],
            **more,
        }
    )


def emit_results_json(
    results: Sequence[CellResult], *, run_id: str, wall_s: float, components: Sequence[ComponentResult] = ()
) -> str:
    """Return the results and the clusters of their failures."""
    counts = Counter(result.status for result in results)
    return emit_json(
        {
            "format": FORMAT_VERSION,
            "run": run_id,
            "wall_s": round(wall_s, 3),
            "counts": dict(sorted(counts.items())),
            "cells": [_result(result) for result in results],
            "components": [describe_component_result(result) for result in components],
            "failures": [
                {
                    "failure_class": item.failure.failure_class,
                    "code": item.failure.code,
                    "detail": item.failure.detail,
                    "location": item.failure.location,
                    "cells": list(item.cells),
                }
                for item in cluster(failures_of(results))
            ],
        }
    )


def _decision(decision: Decision) -> dict[str, Any]:
    cell = decision.cell
    return {
        "cell": cell.id,
        "driver": cell.driver,
        "driver_version": cell.driver_version,
        "kernel": cell.kernel.raw,
        "arch": cell.kernel.arch,
        "variant": cell.kernel.variant,
        "action": decision.action,
        "reason": decision.reason,
        "explanation": decision.explanation,
        "key": decision.key or None,
        "boot_key": decision.boot_key or None,
        "boot_opt_out": decision.boot_opt_out or None,
        "image": decision.image or None,
        "inputs": decision.inputs.by_name() if decision.inputs else None,
    }


def _result(result: CellResult) -> dict[str, Any]:
    failure = result.failure
    return _decision(result.decision) | {
        "status": result.status,
        "duration_s": round(result.duration_s, 3),
        "timings": dict(result.timings),
        "cpu": dict(result.cpu),
        "digest": result.digest or None,
        "log": result.log or None,
        "failure": asdict(failure) if failure else None,
        "boot": asdict(result.boot) if result.boot else None,
        "compile_cache": asdict(result.cache) if result.cache else None,
    }
