"""Tekton's own code, built from its sources: what its webhook says of objects, and how its controller ends runs.

The controller is the real one over fake clients, in one process: pods are played by rules, in milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from programs import find_go

from builder.host.locks import alone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSIONS = ("1.6", "1.15")
_ENGINES = Path(__file__).parents[1] / "engines"
_SHARED = _ENGINES / "tekton-1.6" / "engine_test.go"
# What it says is judged, and not how fast: as the other engines.
_QUICK = "-gcflags=all=-N -l -dwarf=false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How the pods of a task end: ``task`` is a glob; without results they write none."""

    task: str
    params: Mapping[str, str] = field(default_factory=dict)
    fails: bool = False
    results: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended.

    Attributes:
        status: of its condition Succeeded.
        pods: its TaskRuns in the order in which they ended.
        skipped: reasons by task.
        size: bytes of JSON of the PipelineRun when it had most.
    """

    status: str
    reason: str
    message: str
    pods: Sequence[Mapping[str, Any]]
    skipped: Mapping[str, str]
    results: Mapping[str, str]
    size: int

    @property
    def is_green(self) -> bool:
        return self.status == "True"

    def ran(self, task: str) -> int:
        """Return how many pods of a task there were."""
        return sum(1 for pod in self.pods if pod["task"] == task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    program: Path
    version: str

    def find_problems(self, objects: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return what Tekton's webhook says against objects, read strictly."""
        return [f"{item['object']}: {item['problem']}" for item in self._ask(objects, ())["problems"]]

    def play(self, objects: Sequence[Mapping[str, Any]], run: str, rules: Sequence[Rule]) -> Ended:
        """Let the controller carry out a PipelineRun; one without a name is called generateName and ``abcde``."""
        told = [
            {"task": rule.task, "params": dict(rule.params), "fails": rule.fails, "results": dict(rule.results)}
            for rule in rules
        ]
        answer = self._ask(objects, [{"run": run, "rules": told}])
        assert not answer["problems"], answer["problems"]
        (found,) = answer["scenarios"]
        words = ("status", "reason", "message", "skipped", "results", "size")
        return Ended(pods=found["tasks"], **{word: found[word] for word in words})

    def _ask(self, objects: Sequence[Mapping[str, Any]], scenarios: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="tekton-engine-") as folder:
            order, answer = Path(folder, "order.json"), Path(folder, "answer.json")
            order.write_text(json.dumps({"objects": list(objects), "scenarios": list(scenarios)}))
            environment = os.environ | {"ENGINE_ORDER": str(order), "ENGINE_ANSWER": str(answer)}
            argv = [str(self.program), "-test.run", "^TestEngine$"]
            done = subprocess.run(argv, cwd=folder, env=environment, check=False, capture_output=True, text=True)
            assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
            found: dict[str, Any] = json.loads(answer.read_text())
            return found


def build_engine(version: str) -> Engine:
    """Build it once for each state of its sources: four minutes of a processor on a bare machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kmodsmith" / "test-engines"
    files = sorted({*(_ENGINES / f"tekton-{version}").iterdir(), _SHARED})
    state = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    program = cache / f"tekton-{version}-{state[:16]}" / "tekton-engine"
    with alone(program.parent):
        if not program.is_file():
            sources = program.parent.with_name(f".tekton-{version}.{os.getpid()}")
            sources.mkdir()
            for file in files:
                shutil.copy(file, sources)
            environment = os.environ | {"GOFLAGS": "-mod=mod -trimpath", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
            argv = [find_go(), "test", "-c", _QUICK, "-ldflags", "-s -w", "-o", program.name, "."]
            done = subprocess.run(argv, cwd=sources, env=environment, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            sources.rename(program.parent)
    return Engine(program=program, version=version)
