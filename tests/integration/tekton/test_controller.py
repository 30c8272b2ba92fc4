"""Emitted pipelines before Tekton's own webhook and controller: each run ends as it must, and none is green in vain."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.tekton_facts import EVERYTHING, tekton_facts

from builder.emit.tekton.files import emit_tekton_files
from builder.emit.tekton.pipelines import make_pipelines
from builder.emit.tekton.runs import make_run
from builder.emit.tekton.tasks import make_tasks
from integration.tekton.engine import VERSIONS, Engine, Rule, build_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.emit.tekton.material import TektonFacts

pytestmark = pytest.mark.tekton

_FACTS = tekton_facts()
_BOTH = tekton_facts(arches=EVERYTHING["arches"])
_GATE = Rule(task="gate", results={"TEST_OUTPUT": "{}", "EVIDENCE_ARTIFACT": "oci:x", "summary": "all there"})
_RED_GATE = Rule(task="gate", fails=True, results={"TEST_OUTPUT": "{}"})
# Version 1.6.0 does not have it yet; 1.3.6 and 1.15 do.
_LATER_FIELD = "hostUsers"
_ETCD_LIMIT = 1_500_000
_PLAN = "oci:registry.example.com/organisation/drivers/plans@sha256:" + "0" * 64


@pytest.fixture(scope="session", params=VERSIONS)
def engine(request: pytest.FixtureRequest) -> Engine:
    return build_engine(request.param)


def _plan(amd64: int, arm64: int = 0, **changes: Any) -> Rule:
    """Return how a plan with so many shards ends."""
    lanes = {"amd64": [str(n) for n in range(amd64)], "arm64": [str(n) for n in range(amd64, amd64 + arm64)]}
    results: dict[str, Any] = {"PLAN_ARTIFACT": _PLAN, "count": str(amd64 + arm64), "discovered": "0"}
    results |= {"CHAINS-GIT_URL": "https://git.test/drivers", "CHAINS-GIT_COMMIT": "c" * 40}
    for arch, shards in lanes.items():
        results |= {f"shards-{arch}": shards, f"count-{arch}": str(len(shards))}
    return Rule(task="plan", results=results | changes)


def _objects(facts: TektonFacts, word: str) -> list[dict[str, Any]]:
    """Return the Tasks, one of the Pipelines, and its run."""
    run = make_run(facts, word)
    for item in run["spec"].get("taskRunSpecs", []):
        item["podTemplate"].pop(_LATER_FIELD, None)
    return [*make_tasks(facts).values(), make_pipelines(facts)[word], run]


def _play(engine: Engine, *rules: Rule, facts: TektonFacts = _FACTS, word: str = "build") -> Any:
    return engine.play(_objects(facts, word), f"{facts.settings.name}-{word}-abcde", rules)


@pytest.mark.parametrize(
    "said", [{}, EVERYTHING, {"isolation": "privileged", "retries": 0}], ids=["least", "all", "root"]
)
def test_the_webhook_takes_all_objects(engine: Engine, said: dict[str, Any]) -> None:
    objects = [
        document
        for name, content in emit_tekton_files(tekton_facts(**said)).items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(content)
        if document["apiVersion"] == "tekton.dev/v1"
    ]
    assert {item["kind"] for item in objects} == {"Task", "Pipeline", "PipelineRun"}
    if engine.version == "1.6":
        told = engine.find_problems(objects)
        assert {sentence.rpartition(": ")[2] for sentence in told} <= {f'unknown field "{_LATER_FIELD}"'}
    else:
        assert engine.find_problems(objects) == []
    for item in objects:
        for spec in item["spec"].get("taskRunSpecs", []):
            spec["podTemplate"].pop(_LATER_FIELD, None)
    assert engine.find_problems(objects) == []


_MISTAKES: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "unknown field": ("Pipeline", lambda item: item["spec"]["tasks"][0].update(needs=[]), "unknown field"),
    "no such parameter": (
        "Task", lambda item: item["spec"]["steps"][-1].update(args=["$(params.nobody)"]), "non-existent variable",
    ),
    "a parameter given twice": (
        "Pipeline",
        lambda item: item["spec"]["tasks"][1]["params"].append({"name": "shard", "value": "0"}),
        "matrix",
    ),
    "retries beside onError": ("Pipeline", lambda item: item["spec"]["tasks"][1].update(onError="continue"), "OnError"),
    "a run that outlives its pipeline": (
        "PipelineRun", lambda item: item["spec"]["timeouts"].pop("pipeline"), "timeouts",
    ),
    "finally that waits": ("Pipeline", lambda item: item["spec"]["finally"][0].update(runAfter=["plan"]), "runAfter"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "sentence"), _MISTAKES.values(), ids=_MISTAKES)
def test_the_webhook_notices_mistakes(engine: Engine, kind: str, change: Any, sentence: str) -> None:
    objects = [
        item
        for item in _objects(_FACTS, "build")
        if item["kind"] != "Task" or item["metadata"]["name"].endswith("-plan")
    ]
    chosen = next(item for item in objects if item["kind"] == kind)
    assert engine.find_problems(objects) == []
    change(chosen)
    (told,) = engine.find_problems(objects)
    assert sentence in told


@pytest.mark.parametrize("word", ["build", "nightly", "release"])
def test_all_good(engine: Engine, word: str) -> None:
    ended = _play(engine, _plan(12), _GATE, word=word)
    assert (ended.is_green, ended.ran("shards-amd64"), ended.ran("gate"), ended.skipped) == (True, 12, 1, {})
    assert ended.results["PLAN_ARTIFACT"] == _PLAN
    assert ended.results["TEST_OUTPUT"] == "{}"
    given = {pod["params"]["shard"] for pod in ended.pods if pod["task"] == "shards-amd64"}
    assert given == {str(number) for number in range(12)}
    assert {pod["params"]["plan"] for pod in ended.pods if pod["task"] in {"shards-amd64", "gate"}} == {_PLAN}


def test_a_shard_that_is_lost_makes_it_red_and_the_gate_judges_all_the_same(engine: Engine) -> None:
    lost = Rule(task="shards-amd64", params={"shard": "1"}, fails=True)
    ended = _play(engine, _plan(3), lost, _RED_GATE)
    assert (ended.is_green, ended.ran("shards-amd64"), ended.ran("gate")) == (False, 3, 1)
    even_so = _play(engine, _plan(3), lost, _GATE)
    assert not even_so.is_green


def test_cells_that_fail_are_the_gates_to_judge(engine: Engine) -> None:
    """A shard whose cells failed ends well for Tekton: its step goes on, and its evidence says what failed."""
    ended = _play(engine, _plan(3), _RED_GATE)
    assert (ended.is_green, ended.ran("gate")) == (False, 1)


def test_a_plan_that_fails_builds_nothing(engine: Engine) -> None:
    ended = _play(engine, Rule(task="plan", fails=True), Rule(task="report", fails=True))
    assert (ended.is_green, ended.ran("shards-amd64"), ended.ran("gate"), ended.ran("report")) == (False, 0, 0, 1)


def test_a_plan_without_results_is_not_green(engine: Engine) -> None:
    ended = _play(engine, Rule(task="plan"), _GATE)
    assert (ended.is_green, ended.ran("shards-amd64"), ended.ran("gate")) == (False, 0, 0)


@pytest.mark.parametrize("gate", [_GATE, _RED_GATE], ids=["all there", "something missing"])
def test_an_empty_plan_is_as_green_as_its_gate(engine: Engine, gate: Rule) -> None:
    ended = _play(engine, _plan(0), gate, word="nightly")
    assert (ended.is_green, ended.ran("gate"), ended.ran("report")) == (not gate.fails, 1, 1)
    assert ended.skipped == {"shards-amd64": "When Expressions evaluated to false"}


def test_shards_of_one_architecture_do_not_hang_on_the_others(engine: Engine) -> None:
    for counts, skipped in (((2, 0), "shards-arm64"), ((0, 3), "shards-amd64")):
        ended = _play(engine, _plan(*counts), _GATE, facts=_BOTH)
        assert (ended.is_green, ended.ran("gate"), set(ended.skipped)) == (True, 1, {skipped})
        assert ended.ran("shards-amd64") + ended.ran("shards-arm64") == sum(counts)


def test_shards_go_to_the_nodes_and_accounts_that_are_meant(engine: Engine) -> None:
    ended = _play(engine, _plan(1, 1), _GATE, facts=_BOTH)
    nodes = {pod["task"]: (pod["nodeSelector"], pod["account"]) for pod in ended.pods}
    assert nodes["shards-amd64"] == ({"kubernetes.io/arch": "amd64"}, "kmodsmith-shard")
    assert nodes["shards-arm64"] == ({"kubernetes.io/arch": "arm64"}, "kmodsmith-shard")
    assert nodes["gate"] == (None, "kmodsmith")


def test_a_source_that_did_not_answer_makes_the_nightly_red_when_all_is_done(engine: Engine) -> None:
    silent = Rule(task="sources", params={"discovered": "7"}, fails=True)
    ended = _play(engine, _plan(2, discovered="7"), silent, _GATE, word="nightly")
    assert (ended.is_green, ended.ran("shards-amd64"), ended.ran("gate")) == (False, 2, 1)
    assert _play(engine, _plan(2), silent, _GATE, word="nightly").is_green


def test_a_release_of_a_project_that_is_not_in_order_is_not_built(engine: Engine) -> None:
    ended = _play(engine, Rule(task="lint", fails=True), Rule(task="report", fails=True), word="release")
    assert (ended.is_green, ended.ran("plan"), ended.ran("report")) == (False, 0, 1)


def test_a_change_is_checked_before_it_is_built(engine: Engine) -> None:
    good = _play(engine, word="pull-request")
    assert (good.is_green, [pod["task"] for pod in good.pods]) == (True, ["lint", "build"])
    assert {pod["account"] for pod in good.pods} == {"kmodsmith-untrusted"}
    bad = _play(engine, Rule(task="lint", fails=True), word="pull-request")
    assert (bad.is_green, bad.ran("build")) == (False, 0)


def test_ten_thousand_cells_in_sixty_four_shards_are_far_from_what_a_cluster_takes(engine: Engine) -> None:
    """However many cells there are, a run has 64 shards at most: it is the plan that grows, and that is an artefact."""
    ended = _play(engine, _plan(64), _GATE, facts=tekton_facts(shards=64), word="nightly")
    assert (ended.is_green, ended.ran("shards-amd64")) == (True, 64)
    assert ended.size * 20 < _ETCD_LIMIT


def _move_gate(pipeline: dict[str, Any]) -> None:
    (gate,) = [task for task in pipeline["spec"]["finally"] if task["name"] == "gate"]
    pipeline["spec"]["finally"].remove(gate)
    pipeline["spec"]["tasks"].append(gate | {"runAfter": ["shards-amd64"]})
    pipeline["spec"]["results"] = []
    for task in pipeline["spec"]["tasks"]:
        task.pop("when", None)


def test_the_trap_that_the_shape_avoids_is_there(engine: Engine) -> None:
    """With the gate behind an unguarded matrix, a run is green that published nothing, and nobody was asked."""
    objects = copy.deepcopy(_objects(_FACTS, "build"))
    _move_gate(next(item for item in objects if item["kind"] == "Pipeline"))
    ended = engine.play(objects, "kmodsmith-build-abcde", [_plan(0), _RED_GATE])
    assert (ended.is_green, ended.ran("gate")) == (True, 0)
    assert ended.skipped["gate"] == "Parent Tasks were skipped"
