"""How long 10,000 cells take on a cluster, against the number of shards, and beside one task for each cell.

A simulation with measured times: those of pods and cells come from a run on the cluster of tests, which writes them
where KMODSMITH_E2E_TIMES says. The shards are those that ``plan --to`` would make. One cell is built at a time in a pod.
"""

from __future__ import annotations

import heapq
import json
import statistics
import time
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from builder.shards.grouping import WorkItem, group_work

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

KERNELS, DRIVERS = 1000, 10
SHARDS = (1, 2, 4, 8, 16, 32, 64)
# Of the PipelineRun, for each TaskRun that it names: tests/integration/tekton measures it on the real controller.
_CHILD_BYTES, _ETCD_BYTES = 200, 1_500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Measured seconds: of a pod until it works and after, of getting a toolkit, of a cell without it, of plan and gate."""

    pod: Sequence[float]
    toolkit: Sequence[float]
    cell: Sequence[float]
    plan: float
    gate: float


def read_times(file: Path) -> Times:
    return Times(**json.loads(file.read_text()))


def simulate(times: Times) -> dict[str, Any]:
    """Return wall time and overhead for each number of shards, and for one task a cell on as many slots."""
    cells = list(islice(cycle(times.cell), KERNELS * DRIVERS))
    toolkits = list(islice(cycle(times.toolkit), KERNELS))
    toolkit_s = statistics.median(times.toolkit)
    items = [
        WorkItem(id=f"{number:05}", toolkit=f"{number % KERNELS:04}", seconds=seconds)
        for number, seconds in enumerate(cells)
    ]
    rows = []
    for number in SHARDS:
        began = time.monotonic()
        shards = group_work(items, most=number, toolkit_s=toolkit_s)
        grouped_s = time.monotonic() - began
        pods = cycle(times.pod)
        loads = [_shard_s(shard.items, cells, toolkits) + next(pods) for shard in shards]
        alone = _schedule(
            (pod + toolkits[index % KERNELS] + cell for index, (pod, cell) in enumerate(zip(cycle(times.pod), cells))),
            slots=number,
        )
        whole = times.plan + times.gate
        wall, wall_alone = whole + max(loads), whole + alone
        rows.append(
            {
                "shards": len(shards),
                "wall_h": round(wall / 3600, 2),
                "slowest_over_even": round(max(loads) / (sum(loads) / len(loads)), 3),
                "grouped_s": round(grouped_s, 2),
                "task_per_cell_wall_h": round(wall_alone / 3600, 2),
                "ratio": round(wall_alone / wall, 2),
            }
        )
    work = sum(cells)
    return {
        "cells": len(cells),
        "kernels": KERNELS,
        "measured": {
            "pod_s": round(statistics.median(times.pod), 1),
            "toolkit_s": round(toolkit_s, 1),
            "cell_s": round(statistics.median(times.cell), 1),
            "plan_s": round(times.plan, 1),
            "gate_s": round(times.gate, 1),
        },
        "rows": rows,
        "overhead_per_shard_s": round(statistics.median(times.pod), 1),
        "task_per_cell": {
            "overhead_of_work": round((statistics.mean(times.pod) + toolkit_s) * len(cells) / work, 2),
            "pipelinerun_bytes": _CHILD_BYTES * len(cells),
            "fits_into_etcd": _CHILD_BYTES * len(cells) < _ETCD_BYTES,
        },
        "sharded": {
            "pipelinerun_bytes": _CHILD_BYTES * SHARDS[-1],
            "fits_into_etcd": _CHILD_BYTES * SHARDS[-1] < _ETCD_BYTES,
        },
    }


def _shard_s(items: Iterable[str], cells: Sequence[float], toolkits: Sequence[float]) -> float:
    numbers = [int(item) for item in items]
    kernels = {number % KERNELS for number in numbers}
    return sum(cells[number] for number in numbers) + sum(toolkits[kernel] for kernel in kernels)


def _schedule(durations: Iterable[float], *, slots: int) -> float:
    """Return when the last of a row of tasks ends, each of which takes the first slot that is free."""
    free = [0.0] * slots
    for seconds in durations:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)
