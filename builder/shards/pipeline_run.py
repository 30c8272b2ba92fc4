"""How far a run of a pipeline is, as Tekton tells it: PipelineRun and TaskRuns. Pure.

Evidence tells what came of shards; this tells what evidence cannot: that a pod waits for a node, or was lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from builder.foreign import Parsed, parse_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RUN, _TASK = "tekton.dev/pipelineRun", "tekton.dev/pipelineTask"
_Text = Annotated[str, Field(max_length=262_144)]
_SUCCEEDED = "Succeeded"
_PLAN = "PLAN_ARTIFACT"
_MOST = 10_000
_NUMBER = re.compile("[0-9]{1,4}")


class _Condition(Parsed):
    type: _Text
    status: _Text
    reason: _Text = ""
    message: _Text = ""


class _Named(Parsed):
    name: _Text
    value: Any = None


class _Metadata(Parsed):
    name: _Text
    labels: dict[str, _Text] = Field(default_factory=dict)


class _Terminated(Parsed):
    exit_code: Annotated[int, Field(alias="exitCode")]


class _Step(Parsed):
    name: _Text
    container: _Text = ""
    terminated: _Terminated | None = None


class _Status(Parsed):
    conditions: Annotated[tuple[_Condition, ...], Field(max_length=32)] = ()
    results: Annotated[tuple[_Named, ...], Field(max_length=_MOST)] = ()
    steps: Annotated[tuple[_Step, ...], Field(max_length=_MOST)] = ()
    pod: Annotated[_Text, Field(alias="podName")] = ""
    retries: Annotated[tuple[Any, ...], Field(alias="retriesStatus", max_length=_MOST)] = ()


class _Spec(Parsed):
    params: Annotated[tuple[_Named, ...], Field(max_length=_MOST)] = ()


class _Object(Parsed):
    metadata: _Metadata
    spec: _Spec = Field(default_factory=_Spec)
    status: _Status = Field(default_factory=_Status)


class _List(Parsed):
    items: Annotated[tuple[_Object, ...], Field(max_length=_MOST)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """One task of a run.

    Attributes:
        task: its name in the pipeline.
        shard: number of its shard; None where it has none.
        ended: whether it ended, and how: None while it does not.
        reason: Tekton's word for how it is, and ``message`` its sentence.
        retries: how often a pod of it was lost.
        pod: the last one; empty where there is none yet.
        failed_step: container and exit code of the step that failed; None where none did.
    """

    task: str
    shard: int | None
    ended: bool | None
    reason: str
    message: str
    retries: int
    pod: str
    failed_step: tuple[str, int] | None
    results: Mapping[str, str]

    @property
    def told(self) -> str:
        """How it is, in few words."""
        lost = f", {self.retries} lost before" if self.retries else ""
        return f"{self.reason or 'not begun'}{lost}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run and its tasks; ``ended`` is None while it runs, then whether it is green."""

    name: str
    ended: bool | None
    reason: str
    message: str
    tasks: Sequence[TaskState]
    results: Mapping[str, str]

    @property
    def plan(self) -> str:
        """The plan's name as ``plan --to`` tells it; empty as long as there is none.

        A run that ended has it, too: its tasks may have been pruned.
        """
        told = (task.results.get(_PLAN, "") for task in self.tasks if task.task == "plan")
        return next(told, "") or self.results.get(_PLAN, "")

    @property
    def plans_nothing(self) -> bool:
        """Whether it is of a pipeline that only checks, such as that of a change: nobody has to decide about it."""
        return bool(self.tasks) and not self.plan and all(task.task not in {"plan", "gate"} for task in self.tasks)

    def shard(self, number: int) -> TaskState | None:
        """Return the task that carries out a shard."""
        return next((task for task in self.tasks if task.shard == number), None)

    @property
    def failed(self) -> list[TaskState]:
        """Tasks that ended badly."""
        return [task for task in self.tasks if task.ended is False]


def selector_of(run: str) -> str:
    """Return the labels that the tasks of a run have."""
    return f"{_RUN}={run}"


def parse_run(run: object, tasks: object) -> RunState:
    """Return a run of what the cluster says.

    Raises:
        FormatError: it says something else.
    """
    found = parse_data(_Object, run, "PipelineRun")
    listed = parse_data(_List, tasks, "list of TaskRuns")
    ended, condition = _ending(found.status)
    return RunState(
        name=found.metadata.name,
        ended=ended,
        reason=condition.reason,
        message=condition.message,
        tasks=[_task(item) for item in listed.items],
        results=_texts(found.status),
    )


def _texts(status: _Status) -> dict[str, str]:
    return {entry.name: entry.value for entry in status.results if isinstance(entry.value, str)}


def _task(item: _Object) -> TaskState:
    ended, condition = _ending(item.status)
    shard = next((param.value for param in item.spec.params if param.name == "shard"), None)
    failed = next((step for step in item.status.steps if step.terminated and step.terminated.exit_code), None)
    return TaskState(
        task=item.metadata.labels.get(_TASK, ""),
        shard=int(shard) if isinstance(shard, str) and _NUMBER.fullmatch(shard) else None,
        ended=ended,
        reason=condition.reason,
        message=condition.message,
        retries=len(item.status.retries),
        pod=item.status.pod,
        failed_step=(failed.container or failed.name, failed.terminated.exit_code)
        if failed and failed.terminated
        else None,
        results=_texts(item.status),
    )


def _ending(status: _Status) -> tuple[bool | None, _Condition]:
    nothing = _Condition(type=_SUCCEEDED, status="Unknown")
    condition = next((item for item in status.conditions if item.type == _SUCCEEDED), nothing)
    return {"True": True, "False": False}.get(condition.status), condition
