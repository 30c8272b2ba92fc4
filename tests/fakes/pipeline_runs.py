"""What Tekton tells of a run, and a kubectl that tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

_KUBECTL = """
case "$*" in
*"get pipelineruns.tekton.dev"*) file=run ;;
*"get taskruns.tekton.dev"*) file=tasks ;;
*" create "*) file=created; read -r line; printf '%s' "$line" >"{folder}/sent" ;;
*" logs "*) file=log ;;
*) exit 9 ;;
esac
if [ -f "{folder}/refusal" ]; then while read -r line; do echo "$line" >&2; done <"{folder}/refusal"; exit 1; fi
while IFS= read -r line || [ -n "$line" ]; do printf '%s\\n' "$line"; done <"{folder}/$file"
"""


def describe_task(task: str, status: str = "Unknown", **said: Any) -> dict[str, Any]:
    """Return a TaskRun: ``shard``, ``results``, ``step`` (its exit code), ``retries`` and what else is said of it."""
    condition = {
        "type": "Succeeded",
        "status": status,
        "reason": said.get("reason", ""),
        "message": said.get("message", ""),
    }
    found: dict[str, Any] = {
        "metadata": {"name": f"r-{task}", "labels": {"tekton.dev/pipelineTask": task}},
        "spec": {"params": [{"name": "shard", "value": said["shard"]}] if "shard" in said else []},
        "status": {"conditions": [condition], "podName": f"r-{task}-pod"},
    }
    found["status"]["results"] = [{"name": name, "value": value} for name, value in said.get("results", {}).items()]
    if "step" in said:
        terminated = {"exitCode": said["step"]}
        found["status"]["steps"] = [{"name": task, "container": f"step-{task}", "terminated": terminated}]
    if "retries" in said:
        found["status"]["retriesStatus"] = [{}] * said["retries"]
    return found


def describe_run(status: str = "Unknown", reason: str = "Running", message: str = "at work") -> dict[str, Any]:
    condition = {"type": "Succeeded", "status": status, "reason": reason, "message": message}
    return {"metadata": {"name": "r"}, "status": {"conditions": [condition]}}


@dataclass(frozen=True)
class FakeCluster:
    """A cluster that kubectl knows: what it says is in files of a folder."""

    folder: Path

    def say(self, run: dict[str, Any], *tasks: dict[str, Any]) -> None:
        (self.folder / "run").write_text(json.dumps(run))
        (self.folder / "tasks").write_text(json.dumps({"items": list(tasks)}))

    def write(self, name: str, text: str) -> None:
        """Write what it says to ``create`` (created) and ``logs`` (log), or why it refuses all (refusal)."""
        (self.folder / name).write_text(text)


def add_cluster(tools: FakeTools, folder: Path, program: str = "kubectl") -> FakeCluster:
    folder.mkdir()
    tools.add(program, _KUBECTL.format(folder=folder))
    return FakeCluster(folder)
