"""Tasks: what one pod does. Pure.

A pod's disk is its own: plans, evidence and images go from pod to pod through the registry, by digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.tekton.material import TEKTON, count_result, lane, named, new_object
from builder.emit.tekton.pods import (
    SOURCE,
    building,
    make_fetch,
    make_script,
    make_signers,
    make_step,
    make_volumes,
    project_words,
    result_words,
    with_registry,
    with_signer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.emit.tekton.material import TektonFacts

MIN_VERSION = "1.3.0"
_Dict = dict[str, Any]
_PLAN_PARAM = {"name": "plan", "type": "string", "description": "The plan, oci:REPOSITORY@sha256:..."}
_FETCH_PARAMS = (
    {"name": "repo-url", "type": "string", "description": "Address of the git repository with versions.yaml."},
    {"name": "revision", "type": "string", "description": "Branch, tag or commit."},
    {
        "name": "project",
        "type": "string",
        "description": "Folder of the repository with versions.yaml.",
        "default": ".",
    },
)
_FETCH_RESULTS = (
    {"name": "CHAINS-GIT_URL", "description": "Where the source came from, for Tekton Chains."},
    {"name": "CHAINS-GIT_COMMIT", "description": "The commit, for Tekton Chains."},
)
_TEST_OUTPUT = {"name": "TEST_OUTPUT", "description": "How it ended, in JSON, as Konflux reads it."}
_SUMMARY = {"name": "summary", "description": "How it ended, in a sentence."}


def _artifact(what: str, name: str) -> list[_Dict]:
    """Return the results that tell of an artefact: to the task behind, and to Chains (builder/shards/outputs.py)."""
    return [
        {"name": f"{what}_ARTIFACT", "description": f"{name}, by digest."},
        {"name": f"{what}_ARTIFACT_URI", "description": "Its repository, for Tekton Chains."},
        {"name": f"{what}_ARTIFACT_DIGEST", "description": "Its digest, for Tekton Chains."},
    ]


def make_tasks(facts: TektonFacts) -> dict[str, _Dict]:
    """Return all Tasks by the word that their names end with."""
    tasks = [
        _plan(facts, discovers=False), _plan(facts, discovers=True), _shard(facts), _gate(facts), _report(facts),
        _sources(facts), _lint(facts), _try(facts),
    ]  # fmt: skip
    prefix = f"{facts.settings.name}-"
    return {task["metadata"]["name"].removeprefix(prefix): task for task in tasks}


def _task(facts: TektonFacts, word: str, description: str, **spec: Any) -> _Dict:
    task = new_object(facts, TEKTON, "Task", named(facts, word))
    task["metadata"]["annotations"] = {
        "tekton.dev/pipelines.minVersion": MIN_VERSION,
        "tekton.dev/displayName": f"kmodsmith {word}",
    }
    return task | {"spec": {"description": description, **spec}}


def _with_fetch(facts: TektonFacts, word: str, description: str, **spec: Any) -> _Dict:
    """Return a Task whose first step brings the project."""
    optional = {
        "name": "git-credentials",
        "description": "Secret with .git-credentials and .gitconfig, for repositories that are not public.",
        "optional": True,
        "readOnly": True,
    }
    spec["params"] = [dict(param) for param in _FETCH_PARAMS] + spec.get("params", [])
    spec["results"] = spec.get("results", []) + [dict(result) for result in _FETCH_RESULTS]
    spec["steps"] = [make_fetch(facts), *spec["steps"]]
    return _task(facts, word, description, workspaces=[optional], **spec)


def _plan(facts: TektonFacts, *, discovers: bool) -> _Dict:
    settings = facts.settings
    selection = {
        "name": "selection", "type": "array", "default": [], "description": "What is planned: options of 'plan'.",
    }  # fmt: skip
    run = {"name": "run", "type": "string", "description": "The run's own word: its evidence is apart from others'."}
    words = ["plan", "--to", settings.repository, "--shards", str(settings.shards), "--run", "$(params.run)"]
    plan = make_step(facts, "plan", [*project_words(), *words, *result_words(), "$(params.selection[*])"])
    results: list[_Dict] = [
        *_artifact("PLAN", "The plan"),
        {"name": "count", "description": "Number of shards."},
    ]
    for arch in settings.arches:
        results.append({"name": lane(arch), "type": "array", "description": f"Shards for {arch} nodes."})
        results.append({"name": count_result(arch), "description": f"Number of shards for {arch} nodes."})
    steps = [with_registry(facts, plan)]
    if discovers:
        # A source that does not answer keeps nobody from building what is known; how it ended is told at the end.
        discover = make_step(facts, "discover", [*project_words(), "discover"]) | {"onError": "continue"}
        paths = ["$(steps.step-discover.exitCode.path)", "$(results.discovered.path)"]
        steps = [with_registry(facts, discover), *steps, make_step(facts, "tell", paths, command=("cp",))]
        results.append({"name": "discovered", "description": "Exit code of 'discover': 0 if all sources answered."})
    word, description = ("plan", "Decides what is to be built, and groups it into shards.")
    if discovers:
        word, description = "discover", "Asks the kernel sources what is new, and plans with it."
    spec = {"params": [run, selection], "results": results, "steps": steps}
    return _with_fetch(facts, word, description, volumes=make_volumes(facts, registry=True), **spec)


def _shard(facts: TektonFacts) -> _Dict:
    words = ["shard", "--plan", "$(params.plan)", "--shard", "$(params.shard)", *result_words()]
    step = with_signer(facts, with_registry(facts, building(facts, make_step(facts, "shard", words), trusted=True)))
    # What failed is in the evidence, and the gate decides: a cell that does not compile is no reason to try again. A
    # pod that is lost is.
    step["onError"] = "continue"
    results = [
        *_artifact("EVIDENCE", "The evidence"),
        dict(_SUMMARY),
        dict(_TEST_OUTPUT),
    ]
    spec: _Dict = {
        "params": [dict(_PLAN_PARAM), {"name": "shard", "type": "string", "description": "Its number."}],
        "results": results,
        "steps": [step],
        "volumes": make_volumes(facts, builds=True, registry=True, signs=True),
    }
    if sidecars := [_as_builder(item) for item in make_signers(facts)]:
        spec["sidecars"] = sidecars
    return _task(facts, "shard", "Builds, proves, signs, boots and publishes one shard of a plan.", **spec)


def _as_builder(sidecar: _Dict) -> _Dict:
    """Return the signer as the user that builds: another one's socket would be out of reach."""
    rights = sidecar["securityContext"] | {"runAsNonRoot": False, "runAsUser": 0}
    return sidecar | {"securityContext": rights}


def _gate(facts: TektonFacts) -> _Dict:
    words = ["gate", "--plan", "$(params.plan)", *result_words()]
    step = with_signer(facts, with_registry(facts, make_step(facts, "gate", words)))
    results = [
        *_artifact("EVIDENCE", "What came of the whole run"),
        dict(_SUMMARY),
        dict(_TEST_OUTPUT),
    ]
    spec: _Dict = {
        "params": [dict(_PLAN_PARAM)],
        "results": results,
        "steps": [step],
        "volumes": make_volumes(facts, registry=True, signs=True),
    }
    if sidecars := make_signers(facts):
        spec["sidecars"] = sidecars
    return _task(facts, "gate", "Decides: is all that was planned in its registry, proven and signed?", **spec)


def _report(facts: TektonFacts) -> _Dict:
    names = ["plan", *(lane(arch) for arch in facts.settings.arches)]
    lines = [f'printf "%-14s %s\\n" {name} "${_variable(name)}"' for name in names]
    hint = f"the log of {named(facts, 'gate')} has the table of all cells; kmodsmith gate --plan prints it again"
    lines += [
        f'printf "%s\\n" "{hint}: $RUN"',
        # Nothing that ended well is green where nothing was planned: skipped tasks are no failures of Tekton's.
        'test "$PLAN" = Succeeded',
    ]
    params = [{"name": f"{name}-status", "type": "string"} for name in names] + [{"name": "run", "type": "string"}]
    variables = {_variable(name): f"$(params.{name}-status)" for name in names} | {"RUN": "$(params.run)"}
    return _task(
        facts, "report", "Says how the parts of a run ended; fails where nothing was planned.",
        params=params, steps=[make_script(facts, "report", lines, variables)], volumes=make_volumes(facts),
    )  # fmt: skip


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


def _sources(facts: TektonFacts) -> _Dict:
    lines = [
        '[ "$DISCOVERED" = 0 ] && exit 0',
        'printf "a kernel source did not answer well: discover ended with %s, see its log\\n" "$DISCOVERED"',
        "exit 1",
    ]
    params = [{"name": "discovered", "type": "string", "description": "Exit code of 'discover'."}]
    steps = [make_script(facts, "sources", lines, {"DISCOVERED": "$(params.discovered)"})]
    description = "Fails where a kernel source did not answer, when all else is done."
    return _task(facts, "sources", description, params=params, steps=steps, volumes=make_volumes(facts))


def _lint(facts: TektonFacts) -> _Dict:
    step = make_step(facts, "lint", [*project_words(), "emit", "tekton", "--output", SOURCE, "--check", "--untrusted"])
    description = "Checks versions.yaml, and that the committed pipelines are those that it stands for."
    return _with_fetch(facts, "lint", description, steps=[step], volumes=make_volumes(facts))


def _try(facts: TektonFacts) -> _Dict:
    words: Sequence[str] = [*project_words(), "build", "--untrusted", "--locked", "$(params.selection[*])"]
    step = building(facts, make_step(facts, "build", words), trusted=False)
    params = [{"name": "selection", "type": "array", "default": [], "description": "Options of 'build'."}]
    description = "Builds a stranger's change: no key, no secret, no image that counts."
    volumes = make_volumes(facts, builds=True)
    return _with_fetch(facts, "try", description, params=params, steps=[step], volumes=volumes)
