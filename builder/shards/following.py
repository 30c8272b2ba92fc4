"""Follows a run of a pipeline from anywhere: what Tekton says of pods, and what shards left in the registry of plans.

Nothing is written to cluster or registry: who stops looking changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING

from builder.errors import FormatError, SourceError
from builder.host.places import write_below
from builder.shards.artefact import GATE
from builder.shards.attached import JUNIT_FILE, LOGS_FILE, RESULTS_FILE, keep_logs
from builder.shards.judging import Collected, collect
from builder.shards.pipeline_run import RunState, parse_run, selector_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from builder.host.kubectl import Kubectl
    from builder.shards.artefact import FetchedPlan, FoundEvidence, PlanRegistry

_log = logging.getLogger(__name__)

PAUSE_S = 5.0
_MOST_FAILURES = 60
RUNS = "runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a run: as the cluster has it, and by evidence, where there is a plan."""

    state: RunState
    collected: Collected = field(default_factory=Collected)


def look_at_run(cluster: Kubectl, name: str) -> RunState:
    """Return how far a run is.

    Raises:
        UsageError: there is no such run. SourceError: the cluster refuses, or does not answer.
        FormatError: it answers something else.
    """
    run = cluster.get("pipelineruns.tekton.dev", name)
    return parse_run(run, cluster.find("taskruns.tekton.dev", selector_of(name)))


def follow_run(
    look: Callable[[], RunState],
    open_plan: Callable[[str], tuple[PlanRegistry, FetchedPlan]],
    show: Callable[[Seen], None],
    *,
    pause: Callable[[float], None] | None = None,
) -> Seen:
    """Look every few seconds until the run ended; returns what there is then.

    Args:
        look: asks the cluster; what gives no answer is asked again, for five minutes.
        open_plan: opens the plan of this name, once there is one.
        show: is given what was seen, each time.
        pause: how to wait.

    Raises:
        SourceError: cluster or registry gave no answer for five minutes.
    """
    pause = pause or sleep
    opened: tuple[PlanRegistry, FetchedPlan] | None = None
    failures = 0
    while True:
        try:
            state = look()
            if state.plan and opened is None:
                opened = open_plan(state.plan)
            seen = Seen(state=state, collected=collect(*opened) if opened else Collected())
        except SourceError as error:
            failures += 1
            if failures > _MOST_FAILURES:
                raise
            _log.warning("%s: looking again", error.message)
            pause(PAUSE_S)
            continue
        failures = 0
        show(seen)
        if state.ended is not None:
            return seen
        pause(PAUSE_S)


def download(
    registry: PlanRegistry, plan: FetchedPlan, collected: Collected, work_dir: Path, name: str
) -> FoundEvidence | None:
    """Write all evidence of a run below ``runs/NAME`` of a work folder; returns the gate's, None where it left none.

    Raises:
        SourceError: the registry refuses, or gives no answer. FormatError: the gate's evidence is none.
    """
    gate = registry.find_evidence(plan, GATE)
    found = {f"shard-{number}": item for number, item in collected.found.items()}
    for who, item in (found | ({GATE: gate} if gate else {})).items():
        folder = f"{RUNS}/{name}/{who}"
        write_below(work_dir, f"{folder}/evidence.json", item.evidence.write().decode())
        try:
            files = registry.read_files(item, RESULTS_FILE, JUNIT_FILE, LOGS_FILE)
            for file in (RESULTS_FILE, JUNIT_FILE):
                if file in files:
                    write_below(work_dir, f"{folder}/{file}", files[file].decode(errors="replace"))
            if LOGS_FILE in files:
                keep_logs(work_dir, f"{folder}/logs", files[LOGS_FILE])
        except FormatError as error:
            _log.warning("what %s left beside its evidence is not as it should be: %s", who, error.message)
    return gate
