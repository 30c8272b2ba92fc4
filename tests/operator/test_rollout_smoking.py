"""A node is ready when a pod has tried one of its devices: how often, how many at once, and whatever happens meanwhile."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from fakes.fleet import NAMES, NEW_KERNEL, OLD_KERNEL, RESOURCE, SMOKING, Fleet, make_fleet, want
from hypothesis import given, settings
from hypothesis import strategies as st
from kmod_operator.rollout.explain import explain
from kmod_operator.rollout.progress import read_progress
from kmod_operator.rollout.smoking import read_smoke_pod
from kmod_operator.rollout.world import Known, SmokePod


def _fleet(count: int = 3, **spec: Any) -> Fleet:
    fleet = make_fleet(count, **spec)
    fleet.smokes = {}
    return fleet


def _pods(fleet: Fleet) -> list[SmokePod]:
    return list((fleet.smokes or {}).values())


def _bring(fleet: Fleet, turns: int = 12) -> None:
    """Go on until devices are there, and no pod has run."""
    for _ in range(turns):
        fleet.turn()
        fleet.kmm()
        fleet.wait(1)


def _state(fleet: Fleet, node: str = "n0") -> str:
    return explain(node, fleet.item, SMOKING, fleet.world()).state


def test_a_node_is_ready_when_a_device_of_it_was_tried() -> None:
    fleet = _fleet(1)
    _bring(fleet)
    (pod,) = _pods(fleet)
    assert (pod.node, pod.to, pod.kernel, pod.attempt) == ("n0", "1.0.0", OLD_KERNEL, 1)
    assert _state(fleet) == "Checking"
    assert fleet.condition("Ready") == ("False", "NodesNotReady")
    fleet.kubelet()
    fleet.turn()
    fleet.turn()
    assert (_state(fleet), _pods(fleet)) == ("Ready", [])
    assert fleet.condition("Ready") == ("True", "AllReady")
    decision = fleet.turn()
    assert (decision.start, decision.end, decision.nodes) == ((), (), ())


def test_the_pod_asks_for_a_device_of_that_node_whatever_its_taints() -> None:
    fleet = _fleet(1, tolerations=[{"key": "gpu", "operator": "Exists"}])
    _bring(fleet, 3)
    if fleet.smokes:
        fleet.smokes.clear()
    (pod,) = fleet.decide().start
    spec, metadata = pod["spec"], pod["metadata"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n0"]}]}]
    assert [one["key"] for one in spec["tolerations"]] == ["node.kubernetes.io/unschedulable", "gpu"]
    assert spec["containers"][0]["resources"]["limits"] == {RESOURCE: "1"}
    assert metadata["ownerReferences"][0]["name"] == "ptemplate"
    assert metadata["labels"][NAMES.smoke] == "true"
    assert len(metadata["name"]) < 64


def test_what_fails_is_tried_three_times_and_then_the_node_has_failed() -> None:
    fleet = _fleet(1)
    fleet.bad.add("1.0.0")
    fleet.settle(60)
    failed = read_progress(fleet.nodes["n0"].annotations[NAMES.progress])
    assert failed is not None
    assert failed.reason == (
        "version 1.0.0: its smoke test failed 3 times, the last time: exit code 1: it reads nothing"
    )
    assert [words for _, words in fleet.told if "is tried again" in words].__len__() == 2
    assert fleet.condition("Degraded") == ("True", "StepFailed")
    assert _pods(fleet) == []
    fleet.bad.clear()
    fleet.settle(20)
    assert _state(fleet) == "Failed", "a node that failed is left to people"
    fleet.change("n0", annotations={})
    fleet.settle(30)
    assert fleet.condition("Ready") == ("True", "AllReady")


def test_a_try_that_fails_once_is_forgiven() -> None:
    fleet = _fleet(1)
    _bring(fleet)
    fleet.bad.add("1.0.0")
    fleet.kubelet()
    fleet.bad.clear()
    fleet.turn()
    assert "try 1 failed: exit code 1" in " ".join(explain("n0", fleet.item, SMOKING, fleet.world()).sentences)
    fleet.settle(30)
    assert _state(fleet) == "Ready"


def test_a_canary_whose_device_does_not_work_stops_the_rest() -> None:
    rollout = {"maxUnavailable": 2, "drain": {"enabled": True}}
    fleet = _fleet(4, rollout=rollout | {"canary": {"nodeSelector": {"canary": "yes"}, "soakSeconds": 0}})
    fleet.label("n2", canary="yes")
    fleet.settle(60)
    assert fleet.condition("Ready") == ("True", "AllReady")
    fleet.bad.add("1.1.0")
    want(fleet, "1.1.0")
    fleet.settle(60)
    assert {name for name, node in fleet.nodes.items() if node.labels[NAMES.wanted_version] == "1.1.0"} == {"n2"}
    assert fleet.condition("Progressing")[1] == "CanaryFailed"
    assert fleet.nodes["n2"].unschedulable, "nobody gets a device that does not work"


def test_a_few_are_there_at_once() -> None:
    fleet = _fleet(60, rollout={"maxUnavailable": "100%"})
    _bring(fleet)
    assert len(_pods(fleet)) == 16
    fleet.settle(60)
    assert fleet.condition("Ready") == ("True", "AllReady")


def test_each_time_a_driver_is_loaded_is_another_try() -> None:
    fleet = _fleet(1)
    fleet.settle(30)
    fleet.reboot("n0")
    fleet.turn()
    fleet.wait(5)
    _bring(fleet)
    (pod,) = _pods(fleet)
    assert pod.phase == ""
    fleet.kubelet()
    fleet.turn()
    fleet.turn()
    assert _state(fleet) == "Ready"
    fleet.reboot("n0", NEW_KERNEL)
    fleet.kmm()  # nobody saw that it was away
    fleet.turn()
    assert _state(fleet) == "Checking"
    fleet.settle(20)
    assert _state(fleet) == "Ready"


def test_a_pod_of_before_says_nothing_of_what_is_loaded_now() -> None:
    fleet = _fleet(1)
    _bring(fleet)
    fleet.kubelet()
    (old,) = _pods(fleet)
    fleet.turn()
    fleet.reboot("n0")
    fleet.wait(30)
    fleet.turn(writes=1)  # its note, and killed before the pod is ended
    assert fleet.smokes == {old.name: old}
    fleet.kmm()
    fleet.turn()
    assert _state(fleet) == "Checking"
    fleet.settle(20)
    assert _state(fleet) == "Ready"


def test_a_node_whose_pod_is_still_leaving_gets_no_other() -> None:
    fleet = _fleet(1)
    _bring(fleet)
    (old,) = _pods(fleet)
    fleet.smokes = {old.name: dataclasses.replace(old, begun="before", is_ending=True)}
    decision = fleet.decide()
    assert (decision.start, decision.end) == ((), ())
    fleet.smokes = {}
    assert len(fleet.decide().start) == 1


def test_a_node_that_is_down_has_no_pod_and_one_that_is_gone_leaves_none() -> None:
    fleet = _fleet(2, rollout={"maxUnavailable": 2})
    _bring(fleet)
    assert sorted(pod.node for pod in _pods(fleet)) == ["n0", "n1"]
    fleet.change("n0", ready=Known.NO)
    del fleet.nodes["n1"]
    fleet.turn()
    assert _pods(fleet) == []


def test_where_pods_cannot_be_seen_nothing_is_begun_or_taken_for_tried() -> None:
    fleet = _fleet(1)
    _bring(fleet, 3)
    world = dataclasses.replace(fleet.world(), smokes=None)
    from kmod_operator.rollout.decide import decide

    decision = decide(fleet.item, SMOKING, world)
    assert (decision.start, decision.end) == ((), ())
    told = {one["type"]: (one["status"], one["reason"]) for one in decision.status["conditions"]}
    assert told["Ready"] == ("False", "NodesNotReady")
    assert told["PrerequisitesMet"] == ("False", "SmokeTestsUnseen")


@pytest.mark.parametrize("devices", [{"smoke": "None"}, {"mode": "None"}])
def test_people_may_want_none(devices: dict[str, str]) -> None:
    fleet = _fleet(1, devices=devices)
    for _ in range(10):
        fleet.turn()
        fleet.kmm()
        assert _pods(fleet) == []
    assert _state(fleet) == "Ready"


def test_nodes_that_have_the_version_already_are_not_tried() -> None:
    fleet = _fleet(1, devices={"smoke": "None"})
    fleet.settle(20)
    fleet.item["spec"]["devices"] = {"smoke": "Run"}
    decision = fleet.turn()
    assert (decision.start, _state(fleet)) == ((), "Ready")


def test_a_removal_ends_them() -> None:
    fleet = _fleet(1)
    _bring(fleet)
    assert _pods(fleet)
    fleet.item["metadata"]["deletionTimestamp"] = "2026-11-27T06:00:00Z"
    fleet.turn()
    assert _pods(fleet) == []


def test_a_pod_that_waits_is_explained() -> None:
    fleet = _fleet(1)
    _bring(fleet)
    (pod,) = _pods(fleet)
    fleet.smokes = {pod.name: dataclasses.replace(pod, phase="Pending", words="0/1 nodes: Insufficient devices")}
    sentences = explain("n0", fleet.item, SMOKING, fleet.world()).sentences
    assert f"Its smoke test is the pod drv/{pod.name}, try 1, Pending: 0/1 nodes: Insufficient devices." in sentences


def _pod(**more: Any) -> dict[str, Any]:
    said = {"node": "n0", "to": "1", "kernel": "k", "begun": "b", "attempt": 2}
    metadata = {"name": "p", "namespace": "d", "uid": "u", "annotations": {NAMES.smoke: json.dumps(said)}}
    return {"metadata": metadata} | more


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"containerStatuses": [{"state": {"terminated": {"exitCode": 1, "message": "a\nit is broken\n"}}}]},
         "exit code 1: it is broken"),
        ({"containerStatuses": [{"state": {"terminated": {"exitCode": 1, "message": 'a\n{"level": "error", "message": "no"}'}}}]},
         "exit code 1: no"),
        ({"containerStatuses": [{"state": {"terminated": {"exitCode": 1, "message": '{"message": 1, '}}}]},
         'exit code 1: {"message": 1,'),
        ({"containerStatuses": [{"state": {"terminated": {"exitCode": 137}}}]}, "exit code 137"),
        ({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}]},
         "ErrImagePull: no"),
        ({"reason": "DeadlineExceeded", "message": "it took too long"}, "DeadlineExceeded: it took too long"),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "message": "Insufficient x"}]}, "Insufficient x"),
        ({"conditions": [{"type": "PodScheduled", "status": "True", "message": "x"}]}, ""),
        ({"reason": "x" * 400}, "x" * 297 + "..."),
        (None, ""),
    ],
)  # fmt: skip
def test_of_a_pod_it_is_known_why_it_is_not_well(status: Any, words: str) -> None:
    found = read_smoke_pod(_pod(status=status), NAMES.smoke)
    assert found.words == words
    assert (found.node, found.to, found.kernel, found.begun, found.attempt) == ("n0", "1", "k", "b", 2)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["node", "to", "attempt", "x"]), inner),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(said=_JSON | st.text(max_size=10), is_text=st.booleans())
def test_whatever_a_pod_says_of_itself_it_is_read(said: Any, *, is_text: bool) -> None:
    """Anybody who may make pods there may write that."""
    pod = _pod()
    pod["metadata"]["annotations"][NAMES.smoke] = json.dumps(said) if is_text else str(said)
    found = read_smoke_pod(pod, NAMES.smoke)
    fleet = _fleet(1)
    _bring(fleet)
    fleet.smokes = {found.name: found}
    fleet.turn()
    fleet.kubelet()
    fleet.settle(30)
    assert fleet.condition("Ready") == ("True", "AllReady")
