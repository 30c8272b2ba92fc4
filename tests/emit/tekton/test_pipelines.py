"""The shape of pipelines: rules of Tekton's that no schema has, each with a pipeline that breaks it."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import pytest
from fakes.tekton_facts import EVERYTHING, tekton_facts

from builder.emit.tekton.pipelines import make_pipelines
from builder.emit.tekton.tasks import make_tasks
from builder.kernel import Arch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from builder.emit.tekton.material import TektonFacts

_FULL = tekton_facts(**EVERYTHING)
_GRAPHS = ("build", "nightly", "release")


def _broken(pipeline: dict[str, Any], facts: TektonFacts) -> Iterator[str]:
    """Yield what is against the rules: those that Tekton does not tell of before a run goes wrong."""
    spec = pipeline["spec"]
    declared = {task["metadata"]["name"]: task["spec"] for task in make_tasks(facts).values()}
    last = spec.get("finally", [])
    lanes = [task["name"] for task in spec["tasks"] if "matrix" in task]
    for task in [*spec["tasks"], *last]:
        yield from _wrong_words(task, declared[task["taskRef"]["name"]])
        yield from _wrong_results(task, spec["tasks"], declared, lanes)
    for task in spec["tasks"]:
        yield from _wrong_shape(task, lanes)
    ends = {task["name"] for task in last}
    if lanes and "gate" not in ends:
        yield "no gate that runs in any case"
    if lanes and "report" not in ends:
        yield "no report"


def _wrong_words(task: dict[str, Any], declared: dict[str, Any]) -> Iterator[str]:
    lists = (task.get("params", []), task.get("matrix", {}).get("params", []))
    given = {param["name"] for params in lists for param in params}
    wanted = {param["name"] for param in declared.get("params", [])}
    needed = {param["name"] for param in declared.get("params", []) if "default" not in param}
    if given - wanted or needed - given:
        yield f"{task['name']}: parameters {sorted(given ^ wanted)}"
    if "timeout" not in task:
        yield f"{task['name']}: no timeout"
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", task["name"]):
        yield f"{task['name']}: no DNS label"


def _wrong_results(
    task: dict[str, Any], tasks: list[dict[str, Any]], declared: dict[str, Any], lanes: list[str]
) -> Iterator[str]:
    names = {item["name"]: item["taskRef"]["name"] for item in tasks}
    for owner, result in re.findall(r"\$\(tasks\.([a-z0-9-]+)\.results\.([A-Za-z0-9_-]+)(?:\[\*\])?\)", str(task)):
        if result not in {item["name"] for item in declared[names[owner]]["results"]}:
            yield f"{task['name']}: reads {owner}'s {result}, which there is not"
        if owner in lanes:
            yield f"{task['name']}: reads results of a matrix, which lose those that failed"


def _wrong_shape(task: dict[str, Any], lanes: list[str]) -> Iterator[str]:
    if "matrix" in task:
        (source,) = [param["value"] for param in task["matrix"]["params"]]
        count = source.replace(".shards-", ".count-").replace("[*]", "")
        if {"input": count, "operator": "notin", "values": ["0"]} not in task.get("when", []):
            yield f"{task['name']}: an empty matrix is not guarded"
    if set(lanes) & {*task.get("runAfter", [])}:
        yield f"{task['name']}: stands behind a matrix, and is skipped with it"
    if task.get("onError") == "continue" and task.get("retries"):
        yield f"{task['name']}: onError and retries exclude each other"


@pytest.mark.parametrize("word", make_pipelines(_FULL))
@pytest.mark.parametrize(
    "said", [{}, EVERYTHING, {"isolation": "privileged"}], ids=["least", "everything", "privileged"]
)
def test_pipelines_keep_to_the_rules(word: str, said: dict[str, Any]) -> None:
    facts = tekton_facts(**said)
    assert list(_broken(make_pipelines(facts)[word], facts)) == []


def _of(name: str, pipeline: dict[str, Any]) -> dict[str, Any]:
    spec = pipeline["spec"]
    (found,) = [task for task in [*spec["tasks"], *spec["finally"]] if task["name"] == name]
    assert isinstance(found, dict)
    return found


def _move_gate(pipeline: dict[str, Any]) -> None:
    gate = _of("gate", pipeline)
    pipeline["spec"]["finally"].remove(gate)
    pipeline["spec"]["tasks"].append(gate | {"runAfter": ["shards-amd64"]})


_BREAKS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "guard removed": (lambda item: _of("shards-amd64", item).pop("when"), "not guarded"),
    "guard of another lane": (
        lambda item: _of("shards-amd64", item).update(when=_of("shards-arm64", item)["when"]), "not guarded",
    ),
    "gate behind the shards": (_move_gate, "stands behind a matrix"),
    "gate forgotten": (lambda item: item["spec"]["finally"].remove(_of("gate", item)), "no gate"),
    "report forgotten": (lambda item: item["spec"]["finally"].remove(_of("report", item)), "no report"),
    "a result that there is not": (
        lambda item: _of("gate", item).update(params=[{"name": "plan", "value": "$(tasks.plan.results.PLAN)"}]),
        "which there is not",
    ),
    "results of shards": (
        lambda item: _of("gate", item).update(
            params=[{"name": "plan", "value": "$(tasks.shards-amd64.results.summary[*])"}]
        ),
        "lose those that failed",
    ),
    "a parameter forgotten": (lambda item: _of("gate", item).pop("params"), "parameters"),
    "no timeout": (lambda item: _of("gate", item).pop("timeout"), "no timeout"),
    "retries that are refused": (lambda item: _of("shards-amd64", item).update(onError="continue"), "exclude each other"),
    "a dot in a name": (lambda item: _of("report", item).update(name="report.1"), "no DNS label"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), _BREAKS.values(), ids=_BREAKS)
@pytest.mark.parametrize("word", _GRAPHS)
def test_a_pipeline_that_breaks_a_rule_is_noticed(word: str, change: Any, sentence: str) -> None:
    pipeline = copy.deepcopy(make_pipelines(_FULL)[word])
    change(pipeline)
    assert sentence in "; ".join(_broken(pipeline, _FULL))


def test_what_is_built_is_said_by_the_settings() -> None:
    def default(facts: TektonFacts, word: str) -> Any:
        params = make_pipelines(facts)[word]["spec"]["params"]
        return next(item["default"] for item in params if item["name"] == "selection")

    assert {default(tekton_facts(), word) == [] for word in make_pipelines(_FULL)} == {True}
    assert default(_FULL, "nightly") == ["--group", "all"]
    assert default(_FULL, "release") == ["--group", "released"]
    assert default(tekton_facts(group="all"), "release") == ["--group", "all"]


def test_each_architecture_has_shards_of_its_own_and_one_gate_judges_all() -> None:
    spec = make_pipelines(_FULL)["build"]["spec"]
    assert [task["name"] for task in spec["tasks"]] == ["plan", "shards-amd64", "shards-arm64"]
    assert [task["name"] for task in spec["finally"]].count("gate") == 1
    alone = make_pipelines(tekton_facts(arches=(Arch.AARCH64,)))["build"]["spec"]
    assert [task["name"] for task in alone["tasks"]] == ["plan", "shards-arm64"]


def test_the_nightly_asks_what_is_new_and_tells_of_sources_that_did_not_answer() -> None:
    nightly = make_pipelines(tekton_facts())["nightly"]
    assert _of("plan", nightly)["taskRef"]["name"] == "kmodsmith-discover"
    assert _of("sources", nightly)["params"] == [{"name": "discovered", "value": "$(tasks.plan.results.discovered)"}]
    assert "sources" not in {task["name"] for task in make_pipelines(tekton_facts())["build"]["spec"]["finally"]}


def test_a_release_is_of_a_checked_project() -> None:
    release = make_pipelines(tekton_facts())["release"]
    assert _of("plan", release)["runAfter"] == ["lint"]


def test_strangers_changes_are_built_unless_shards_are_root_of_their_nodes() -> None:
    assert [task["name"] for task in make_pipelines(tekton_facts())["pull-request"]["spec"]["tasks"]] == [
        "lint",
        "build",
    ]
    checked = make_pipelines(tekton_facts(isolation="privileged"))["pull-request"]["spec"]
    assert [task["name"] for task in checked["tasks"]] == ["lint"]
    assert "selection" not in {param["name"] for param in checked["params"]}
