"""Pipelines: plan, shards, gate. Pure.

Three traps of Tekton's controller decide the shape. **An empty matrix skips everything behind it**, and the run is
green: each lane has a guard, nothing stands behind a lane, and the gate is among the ``finally`` tasks, which are never
skipped for what others did. **A failed task stops the run**: the step that builds goes on (``onError: continue``) and
leaves evidence, so that one kernel does not keep the others from being published. **Results of a matrix lose those that
failed**: none is read; the gate reads the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.tekton.material import TEKTON, count_result, lane, minutes, named, new_object
from builder.emit.tekton.tasks import MIN_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.emit.tekton.material import TektonFacts
    from builder.kernel import Arch

_Dict = dict[str, Any]
_GIT = "git-credentials"


def make_pipelines(facts: TektonFacts) -> dict[str, _Dict]:
    """Return all Pipelines by the word that their names end with."""
    return {
        "build": _build(facts, "build", "Builds and publishes what is not up to date."),
        "nightly": _build(facts, "nightly", "Asks what is new, and builds and publishes it.", discovers=True),
        "release": _build(facts, "release", "Builds and publishes a release, from a checked project.", lints=True),
        "pull-request": _pull_request(facts),
    }


def _pipeline(facts: TektonFacts, word: str, description: str, **spec: Any) -> _Dict:
    pipeline = new_object(facts, TEKTON, "Pipeline", named(facts, word))
    pipeline["metadata"]["annotations"] = {
        "tekton.dev/pipelines.minVersion": MIN_VERSION,
        "tekton.dev/displayName": f"kmodsmith {word}",
    }
    settings = facts.settings
    params: list[_Dict] = [
        {"name": "repo-url", "type": "string", "default": settings.source, "description": "The git repository."},
        {"name": "revision", "type": "string", "default": settings.revision, "description": "Branch, tag or commit."},
        {"name": "project", "type": "string", "default": settings.project, "description": "Folder with versions.yaml."},
        {"name": "selection", "type": "array", "default": _selection(facts, word), "description": "What is built."},
    ]
    workspaces = [{"name": _GIT, "optional": True, "description": "Secret for repositories that are not public."}]
    return pipeline | {"spec": {"description": description, "params": params, "workspaces": workspaces, **spec}}


def _selection(facts: TektonFacts, word: str) -> list[str]:
    settings = facts.settings
    group = settings.release_group or settings.group if word == "release" else settings.group
    return ["--group", group] if group else []


def _build(facts: TektonFacts, word: str, description: str, *, discovers: bool = False, lints: bool = False) -> _Dict:
    settings = facts.settings
    plan = _fetching(facts, "plan", "discover" if discovers else "plan", settings.minutes.plan)
    plan["params"] += [
        {"name": "run", "value": "$(context.pipelineRun.uid)"},
        {"name": "selection", "value": ["$(params.selection[*])"]},
    ]
    tasks = [plan, *(_lane(facts, arch) for arch in settings.arches)]
    if lints:
        tasks = [_fetching(facts, "lint", "lint", settings.minutes.plan), plan | {"runAfter": ["lint"]}, *tasks[1:]]
    last = [_gate(facts), _report(facts)]
    if discovers:
        value = "$(tasks.plan.results.discovered)"
        sources = _ref(facts, "sources", "sources", settings.minutes.plan)
        last.append(sources | {"params": [{"name": "discovered", "value": value}]})
    results = [
        {
            "name": "PLAN_ARTIFACT",
            "description": "The plan, by digest.",
            "value": "$(tasks.plan.results.PLAN_ARTIFACT)",
        },
        *(
            {
                "name": f"CHAINS-GIT_{key}",
                "description": "The source.",
                "value": f"$(tasks.plan.results.CHAINS-GIT_{key})",
            }
            for key in ("URL", "COMMIT")
        ),
        {"name": "TEST_OUTPUT", "description": "How it ended.", "value": "$(finally.gate.results.TEST_OUTPUT)"},
    ]
    return _pipeline(facts, word, description, tasks=tasks, **{"finally": last}, results=results)


def _pull_request(facts: TektonFacts) -> _Dict:
    tasks = [_fetching(facts, "lint", "lint", facts.settings.minutes.plan)]
    # Root of a node for whoever proposes a change would be no test of it.
    if facts.settings.isolation != "privileged":
        build = _fetching(facts, "build", "try", facts.settings.minutes.shard)
        build["params"].append({"name": "selection", "value": ["$(params.selection[*])"]})
        tasks.append(build | {"runAfter": ["lint"]})
    description = "Checks a change that anybody may have proposed: no key, no secret, nothing published."
    pipeline = _pipeline(facts, "pull-request", description, tasks=tasks)
    if len(tasks) == 1:
        params = pipeline["spec"]["params"]
        pipeline["spec"]["params"] = [item for item in params if item["name"] != "selection"]
    return pipeline


def _ref(facts: TektonFacts, name: str, task: str, timeout: int) -> _Dict:
    return {"name": name, "taskRef": {"kind": "Task", "name": named(facts, task)}, "timeout": minutes(timeout)}


def _fetching(facts: TektonFacts, name: str, task: str, timeout: int) -> _Dict:
    params = [{"name": key, "value": f"$(params.{key})"} for key in ("repo-url", "revision", "project")]
    bound = [{"name": _GIT, "workspace": _GIT}]
    return _ref(facts, name, task, timeout) | {"params": params, "workspaces": bound}


def _lane(facts: TektonFacts, arch: Arch) -> _Dict:
    """Return the shards of an architecture: a pod each, all at once."""
    settings = facts.settings
    guard = {"input": f"$(tasks.plan.results.{count_result(arch)})", "operator": "notin", "values": ["0"]}
    shards = {"name": "shard", "value": f"$(tasks.plan.results.{lane(arch)}[*])"}
    plan = {"name": "plan", "value": "$(tasks.plan.results.PLAN_ARTIFACT)"}
    task = _ref(facts, lane(arch), "shard", settings.minutes.shard) | {
        "when": [guard],
        "params": [plan],
        "matrix": {"params": [shards]},
    }
    return task | ({"retries": settings.retries} if settings.retries else {})


def _gate(facts: TektonFacts) -> _Dict:
    plan = {"name": "plan", "value": "$(tasks.plan.results.PLAN_ARTIFACT)"}
    return _ref(facts, "gate", "gate", facts.settings.minutes.gate) | {"params": [plan]}


def _report(facts: TektonFacts) -> _Dict:
    names: Sequence[str] = ["plan", *(lane(arch) for arch in facts.settings.arches)]
    params = [{"name": f"{name}-status", "value": f"$(tasks.{name}.status)"} for name in names]
    params.append({"name": "run", "value": "$(context.pipelineRun.name)"})
    return _ref(facts, "report", "report", facts.settings.minutes.plan) | {"params": params}
