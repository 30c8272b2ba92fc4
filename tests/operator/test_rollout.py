"""What is decided, on a cluster of our own: installs, upgrades, canaries, drains, failures, removal."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.fleet import (
    BEGIN,
    GROUP,
    NAMES,
    NEW_KERNEL,
    OLD_KERNEL,
    RESOURCE,
    TEMPLATES,
    WORKER,
    Fleet,
    image,
    make_fleet,
    make_index,
    make_item,
    want,
)
from kmod_operator.index.index import IndexedImage
from kmod_operator.rollout.explain import explain
from kmod_operator.rollout.mappings import read_mappings, read_version
from kmod_operator.rollout.names import MODULE_KIND, VERSION_KIND
from kmod_operator.rollout.progress import Phase, Progress, read_progress
from kmod_operator.rollout.reasons import EVENTS, REASONS, Condition
from kmod_operator.rollout.spec import SpecError, read_spec
from kmod_operator.rollout.states import State
from kmod_operator.rollout.world import ClusterUpdates, IndexState, Known, Node, Pod, Pool


def _has(fleet: Fleet, version: str) -> list[str]:
    """Nodes that have a version loaded."""
    return [name for name, node in fleet.nodes.items() if node.labels.get(NAMES.ready_version) == version]


def _progress(fleet: Fleet, name: str) -> Progress:
    found = read_progress(fleet.nodes[name].annotations.get(NAMES.progress))
    assert found is not None
    return found


def _installed(count: int = 4, **spec: Any) -> Fleet:
    fleet = make_fleet(count, **spec)
    fleet.settle(200)
    assert fleet.condition("Ready") == ("True", "AllReady")
    return fleet


def _user(fleet: Fleet, node: str, name: str = "job", **more: Any) -> None:
    fleet.pods[name] = Pod(namespace="work", name=name, uid=name, node=node, resources={RESOURCE: 1}, **more)


def test_a_driver_is_installed_and_then_nothing_is_written_any_more() -> None:
    fleet = make_fleet(4)
    fleet.settle(200)
    assert _has(fleet, "1.0.0") == ["n0", "n1", "n2", "n3"]
    before = (dict(fleet.nodes), dict(fleet.objects))
    decision = fleet.turn()
    assert (dict(fleet.nodes), dict(fleet.objects)) == before
    assert (decision.nodes, decision.evict, decision.delete, decision.events) == ((), (), (), ())
    assert decision.again_after_s is None
    assert decision.status["nodes"] == {
        "selected": 4, "ready": 4, "waiting": 0, "failed": 0, "uncovered": 0, "notReady": 0, "upgrading": 0,
    }  # fmt: skip


def test_a_kernel_has_its_image_before_a_node_boots_it() -> None:
    fleet = make_fleet(1)
    fleet.updates = ClusterUpdates(desired="4.18.1", current="4.18.1", offered=("4.18.2",))
    fleet.turn()
    assert read_mappings(fleet.module) == {kernel: image("1.0.0", kernel) for kernel in (OLD_KERNEL, NEW_KERNEL)}
    fleet.updates = ClusterUpdates(desired="4.18.1", current="4.18.1")
    fleet.index = dataclasses.replace(fleet.index, index=make_index({"1.0.0": (OLD_KERNEL, NEW_KERNEL)}))
    fleet.objects.clear()
    fleet.turn()
    assert list(read_mappings(fleet.module)) == [OLD_KERNEL]


def test_a_node_that_comes_back_with_another_kernel_gets_the_driver_for_it() -> None:
    fleet = _installed(2)
    fleet.reboot("n0", NEW_KERNEL)
    assert fleet.condition("Ready") == ("False", "NodesNotReady")
    fleet.settle()
    assert fleet.loaded["n0"] == image("1.0.0", NEW_KERNEL)
    assert fleet.condition("Ready") == ("True", "AllReady")


def test_a_kmm_that_has_no_label_for_the_loaded_version_is_understood() -> None:
    """Before November 2025: the real one that tests build is of that kind, too."""
    fleet = make_fleet(2)
    fleet.has_old_kmm = True
    fleet.settle(100)
    assert fleet.condition("Ready") == ("True", "AllReady")
    want(fleet, "1.1.0")
    fleet.settle(100)
    assert fleet.condition("Ready") == ("True", "AllReady")
    assert [fleet.loaded[name] for name in ("n0", "n1")] == [image("1.1.0", OLD_KERNEL)] * 2


def test_a_node_is_drained_before_it_loses_its_driver() -> None:
    fleet = _installed(2)
    _user(fleet, "n0")
    fleet.sticky.add("job")
    want(fleet, "1.1.0")
    fleet.settle(5)
    assert (fleet.nodes["n0"].unschedulable, _progress(fleet, "n0").phase) == (True, Phase.DRAINING)
    assert _has(fleet, "1.0.0") == ["n0", "n1"]
    fleet.sticky.clear()
    fleet.settle(200)
    assert (_has(fleet, "1.1.0"), fleet.pods) == (["n0", "n1"], {})
    assert not any(node.unschedulable for node in fleet.nodes.values())


def test_pods_that_do_not_use_the_devices_are_left_alone() -> None:
    fleet = _installed(1)
    fleet.pods["other"] = Pod(namespace="work", name="other", uid="2", node="n0")
    _user(fleet, "n0", "over", is_over=True)
    want(fleet, "1.1.0")
    fleet.settle(100)
    assert (sorted(fleet.pods), _has(fleet, "1.1.0")) == (["other", "over"], ["n0"])


@pytest.mark.parametrize("more", [{"owner": "DaemonSet"}, {"is_mirror": True}])
def test_a_pod_that_would_come_back_is_not_evicted_and_the_node_says_so(more: dict[str, Any]) -> None:
    fleet = _installed(1)
    _user(fleet, "n0", **more)
    want(fleet, "1.1.0")
    fleet.settle(5)
    assert list(fleet.pods) == ["job"]
    fleet.wait(600)
    fleet.settle(5)
    assert "work/job" in _progress(fleet, "n0").reason


def test_who_does_not_leave_ends_the_step_and_the_node_keeps_what_it_has() -> None:
    fleet = _installed(2)
    _user(fleet, "n0")
    fleet.sticky.add("job")
    want(fleet, "1.1.0")
    fleet.settle(3)
    fleet.wait(601)
    fleet.turn()
    found = _progress(fleet, "n0")
    assert (found.phase, found.cordoned) == (Phase.FAILED, False)
    assert "work/job still uses its devices" in found.reason
    assert not fleet.nodes["n0"].unschedulable
    assert _has(fleet, "1.0.0") == ["n0", "n1"]
    assert fleet.condition("Degraded") == ("True", "StepFailed")
    assert fleet.condition("Progressing") == ("False", "BudgetUsed")


def test_where_it_is_not_known_who_uses_the_devices_nobody_loses_them() -> None:
    fleet = _installed(1)
    want(fleet, "1.1.0")
    fleet.turn()
    fleet.asked = ()  # the API server did not say
    decision = fleet.decide()
    assert (decision.nodes, decision.pods_of, decision.again_after_s) == ((), ("n0",), 5.0)


def test_without_drain_a_node_is_upgraded_when_an_administrator_cordons_it_and_stays_cordoned() -> None:
    fleet = _installed(2, rollout={"maxUnavailable": 1})
    want(fleet, "1.1.0")
    fleet.settle(10)
    assert _has(fleet, "1.0.0") == ["n0", "n1"]
    assert fleet.condition("Progressing") == ("False", "WaitsForCordon")
    fleet.change("n1", unschedulable=True)
    fleet.settle(50)
    assert (_has(fleet, "1.1.0"), fleet.nodes["n1"].unschedulable) == (["n1"], True)


def test_a_node_that_an_administrator_cordoned_stays_so() -> None:
    fleet = _installed(2)
    fleet.change("n0", unschedulable=True)
    want(fleet, "1.1.0")
    fleet.settle(100)
    assert (_has(fleet, "1.1.0"), fleet.nodes["n0"].unschedulable) == (["n0", "n1"], True)


def test_a_cordon_that_comes_after_ours_was_taken_away_is_somebody_elses() -> None:
    fleet = _installed(1)
    _user(fleet, "n0")
    fleet.sticky.add("job")
    want(fleet, "1.1.0")
    fleet.settle(2)
    fleet.change("n0", unschedulable=False)
    fleet.turn()
    assert not _progress(fleet, "n0").cordoned
    fleet.change("n0", unschedulable=True)
    fleet.sticky.clear()
    fleet.settle(50)
    assert (_has(fleet, "1.1.0"), fleet.nodes["n0"].unschedulable) == (["n0"], True)


def test_without_the_right_to_drain_nothing_is_begun_and_it_is_said() -> None:
    fleet = _installed(1)
    fleet.rights["drain"] = Known.NO
    want(fleet, "1.1.0")
    fleet.settle(5)
    assert _has(fleet, "1.0.0") == ["n0"]
    assert fleet.condition("Progressing") == ("False", "MayNotDrain")
    assert fleet.condition("PrerequisitesMet") == ("False", "MayNotDrain")


def test_the_canary_goes_first_and_soaks() -> None:
    spec = {"maxUnavailable": 4, "canary": {"nodeSelector": {"canary": "yes"}, "soakSeconds": 600}}
    fleet = make_fleet(4, rollout=spec)
    fleet.settle(5)
    assert fleet.condition("Progressing") == ("False", "NoCanary")
    fleet.label("n2", canary="yes")
    fleet.settle(10)
    assert _has(fleet, "1.0.0") == ["n2"]
    assert fleet.condition("Progressing") == ("True", "CanarySoaks")
    decision = fleet.decide()
    assert decision.again_after_s is not None
    fleet.wait(decision.again_after_s)
    fleet.settle(10)
    assert len(_has(fleet, "1.0.0")) == 4


def test_a_canary_that_fails_stops_the_rest_until_another_version_is_wanted() -> None:
    fleet = _installed(3)
    fleet.item["spec"]["rollout"] |= {"canary": {"nodeSelector": {"canary": "yes"}, "soakSeconds": 0}}
    fleet.label("n1", canary="yes")
    fleet.broken.add(("1.1.0", OLD_KERNEL))
    want(fleet, "1.1.0")
    fleet.settle(5)
    fleet.wait(1000)
    fleet.settle(5)
    assert fleet.condition("Progressing") == ("False", "CanaryFailed")
    assert "KMM did not load it within 900 s" in _progress(fleet, "n1").reason
    assert (_has(fleet, "1.0.0"), fleet.nodes["n1"].unschedulable) == (["n0", "n2"], True)
    want(fleet, "1.0.0")
    fleet.settle(50)
    assert (_has(fleet, "1.0.0"), fleet.nodes["n1"].unschedulable) == (["n0", "n1", "n2"], False)


def test_a_canary_that_loses_its_devices_while_it_soaks_begins_again() -> None:
    spec = {"maxUnavailable": 4, "canary": {"nodeSelector": {"canary": "yes"}, "soakSeconds": 600}}
    fleet = make_fleet(2, rollout=spec)
    fleet.label("n0", canary="yes")
    fleet.settle(10)
    fleet.wait(590)
    fleet.dead.add("1.0.0")
    fleet.kmm()
    fleet.turn()
    fleet.dead.clear()
    fleet.settle(10, seconds=1)
    assert _has(fleet, "1.0.0") == ["n0"]
    fleet.wait(600)
    fleet.settle(10)
    assert len(_has(fleet, "1.0.0")) == 2


def test_a_driver_without_devices_is_not_ready() -> None:
    fleet = make_fleet(1)
    fleet.dead.add("1.0.0")
    fleet.settle(10)
    assert fleet.condition("Ready") == ("False", "NodesNotReady")
    fleet.wait(1000)
    fleet.settle(3)
    assert "it has no allocatable drivers.example.com/ptemplate" in _progress(fleet, "n0").reason
    assert fleet.condition("Ready") == ("False", "StepFailed")
    fleet.dead.clear()
    fleet.settle(10)
    assert fleet.condition("Ready") == ("True", "AllReady")


def test_devices_are_not_awaited_where_none_are_promised() -> None:
    fleet = make_fleet(1, devices={"mode": "None"})
    fleet.dead.add("1.0.0")
    fleet.settle(10)
    assert fleet.condition("Ready") == ("True", "AllReady")
    assert not [name for name in fleet.objects if "DaemonSet" in name]


def test_one_bad_node_takes_of_the_budget_and_does_not_stop_the_others() -> None:
    fleet = _installed(4, rollout={"maxUnavailable": 2, "drain": {"enabled": True}})
    fleet.change("n0", ready=Known.NO)
    want(fleet, "1.1.0")
    for _ in range(100):
        fleet.turn()
        fleet.kmm()
        fleet.wait(5)
        assert sum(node.unschedulable for node in fleet.nodes.values()) <= 1
    assert _has(fleet, "1.1.0") == ["n1", "n2", "n3"]
    fleet.change("n0", ready=Known.YES)
    fleet.settle(50)
    assert len(_has(fleet, "1.1.0")) == 4


def test_a_node_that_says_nothing_is_not_touched() -> None:
    fleet = make_fleet(1)
    fleet.change("n0", ready=Known.UNKNOWN)
    fleet.settle(5)
    assert NAMES.progress not in fleet.nodes["n0"].annotations
    assert fleet.condition("Ready") == ("False", "AllNodesDown")


def test_a_kernel_without_an_image_keeps_the_version_that_it_has() -> None:
    fleet = _installed(2)
    fleet.reboot("n1", NEW_KERNEL)
    fleet.settle(50)
    index = make_index({"1.0.0": (OLD_KERNEL, NEW_KERNEL), "1.1.0": (OLD_KERNEL,)})
    fleet.index = dataclasses.replace(fleet.index, index=index)
    want(fleet, "1.1.0")
    fleet.settle(100)
    assert (_has(fleet, "1.1.0"), _has(fleet, "1.0.0")) == (["n0"], ["n1"])
    assert read_mappings(fleet.module)[NEW_KERNEL] == image("1.0.0", NEW_KERNEL)
    assert fleet.condition("KernelsCovered") == ("False", "KernelNotCovered")
    assert fleet.decide().status["kernels"][0] == {
        "kernel": NEW_KERNEL, "nodes": 1, "ready": 0, "state": "Uncovered", "reason": "KernelNotCovered",
    }  # fmt: skip


def test_what_the_index_no_longer_has_is_kept_for_nobody() -> None:
    fleet = _installed(2)
    index = make_index({"1.0.0": (NEW_KERNEL,)})
    fleet.index = dataclasses.replace(fleet.index, index=index)
    fleet.settle(5)
    assert OLD_KERNEL not in read_mappings(fleet.module)


def test_an_image_that_is_replaced_under_its_version_unloads_nothing() -> None:
    """KMM would unload and load on all nodes at once, whatever the budget is."""
    fleet = _installed(2)
    index = make_index({"1.0.0": (OLD_KERNEL, NEW_KERNEL), "1.1.0": (OLD_KERNEL,)})
    images = {"1.0.0": {**index.images["1.0.0"], OLD_KERNEL: IndexedImage(image="other", arch="amd64")}}
    changed = dataclasses.replace(index, images={**index.images, **images})
    fleet.index = dataclasses.replace(fleet.index, index=changed)
    fleet.settle(3)
    assert read_mappings(fleet.module)[OLD_KERNEL] == image("1.0.0", OLD_KERNEL)
    assert fleet.condition("KernelsCovered") == ("True", "ImageReplaced")
    want(fleet, "1.1.0")
    fleet.settle(100)
    assert fleet.condition("KernelsCovered") == ("True", "AllCovered")
    want(fleet, "1.0.0")
    fleet.turn()
    assert read_mappings(fleet.module)[OLD_KERNEL] == "other"


def test_another_way_to_load_waits_for_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """KMM would unload and load on all nodes at once, whatever the budget is."""
    fleet = _installed(2)
    # What the server adds to an object is no other way.
    fleet.module["spec"]["moduleLoader"]["container"]["imagePullPolicy"] = "IfNotPresent"
    fleet.turn()
    assert fleet.condition("Progressing") == ("False", "Arrived")
    module = json.loads(json.dumps(TEMPLATES.drivers["ptemplate"].module))
    module["spec"]["moduleLoader"]["container"]["modprobe"]["parameters"] = ["max_dev=8"]
    driver = dataclasses.replace(TEMPLATES.drivers["ptemplate"], module=module)
    monkeypatch.setattr("fakes.fleet.TEMPLATES", dataclasses.replace(TEMPLATES, drivers={"ptemplate": driver}))
    fleet.settle(3)
    assert "parameters" not in fleet.module["spec"]["moduleLoader"]["container"]["modprobe"]
    assert fleet.condition("Progressing") == ("False", "LoaderKept")
    want(fleet, "1.1.0")
    fleet.settle(100)
    assert fleet.module["spec"]["moduleLoader"]["container"]["modprobe"]["parameters"] == ["max_dev=8"]
    assert fleet.condition("Progressing") == ("False", "Arrived")


def test_a_version_that_is_not_in_the_index_changes_nothing() -> None:
    fleet = _installed(2)
    want(fleet, "2.0.0")
    fleet.settle(5)
    assert (read_version(fleet.module), _has(fleet, "1.0.0")) == ("1.0.0", ["n0", "n1"])
    assert fleet.condition("Ready") == ("False", "VersionNotInIndex")
    assert fleet.condition("KernelsCovered") == ("False", "VersionNotInIndex")
    fleet.nodes["n9"] = Node(name="n9", kernel=OLD_KERNEL, arch="amd64", labels=dict(WORKER), version="1")
    fleet.settle(10)
    assert "n9" in _has(fleet, "1.0.0")


def test_without_an_index_nothing_is_begun() -> None:
    fleet = make_fleet(1)
    fleet.index = IndexState(trouble="ConfigMap x is absent", trouble_reason="Unreadable")
    fleet.settle(5)
    assert fleet.module is None
    assert fleet.condition("IndexTrusted") == ("Unknown", "Unreadable")
    assert fleet.condition("KernelsCovered") == ("Unknown", "Unreadable")
    assert fleet.condition("Progressing") == ("False", "Unreadable")
    fleet.index = IndexState()
    assert fleet.condition("IndexTrusted") == ("Unknown", "NoIndex")


def test_an_index_that_is_gone_leaves_what_is_there() -> None:
    fleet = _installed(1)
    fleet.index = IndexState(trouble="the signature is wrong", trouble_reason="NotTrusted")
    fleet.nodes["n9"] = Node(name="n9", kernel=OLD_KERNEL, arch="amd64", labels=dict(WORKER), version="1")
    fleet.settle(5)
    assert (_has(fleet, "1.0.0"), read_version(fleet.module)) == (["n0"], "1.0.0")
    assert fleet.condition("IndexTrusted") == ("False", "NotTrusted")


def test_paused_begins_nothing_and_ends_what_was_begun() -> None:
    fleet = _installed(2)
    want(fleet, "1.1.0")
    fleet.settle(1)
    begun = [name for name in fleet.nodes if _progress(fleet, name).phase is not Phase.DONE]
    assert begun
    fleet.item["spec"]["rollout"] |= {"paused": True}
    fleet.settle(50)
    assert _has(fleet, "1.1.0") == begun
    assert fleet.condition("Progressing") == ("False", "Paused")


def test_paused_does_not_even_change_the_module() -> None:
    fleet = _installed(1)
    fleet.item["spec"]["rollout"] |= {"paused": True}
    want(fleet, "1.1.0")
    fleet.settle(5)
    assert read_version(fleet.module) == "1.0.0"
    assert fleet.condition("Ready")[0] == "False"


def test_a_version_that_changes_in_the_middle_is_no_second_node_more() -> None:
    fleet = _installed(3)
    want(fleet, "1.1.0")
    fleet.turn()
    fleet.index = dataclasses.replace(
        fleet.index, index=make_index(dict.fromkeys(("1.0.0", "1.1.0", "1.2.0"), (OLD_KERNEL,)))
    )
    want(fleet, "1.2.0")
    for _ in range(100):
        fleet.turn()
        fleet.kmm()
        fleet.wait(5)
        assert sum(node.unschedulable for node in fleet.nodes.values()) <= 1
    assert (len(_has(fleet, "1.2.0")), any(node.unschedulable for node in fleet.nodes.values())) == (3, False)


def test_back_to_the_version_before_in_the_middle_of_a_drain() -> None:
    fleet = _installed(1)
    _user(fleet, "n0")
    fleet.sticky.add("job")
    want(fleet, "1.1.0")
    fleet.settle(3)
    assert fleet.nodes["n0"].unschedulable
    want(fleet, "1.0.0")
    fleet.settle(3)
    assert (_has(fleet, "1.0.0"), fleet.nodes["n0"].unschedulable, list(fleet.pods)) == (["n0"], False, ["job"])


def test_a_node_that_is_selected_no_more_is_left_as_it_was_found() -> None:
    fleet = _installed(2)
    _user(fleet, "n0")
    fleet.sticky.add("job")
    want(fleet, "1.1.0")
    fleet.settle(3)
    assert fleet.nodes["n0"].unschedulable
    fleet.label("n0", **{"node-role.kubernetes.io/worker": None})
    fleet.settle(20)
    node = fleet.nodes["n0"]
    assert (node.unschedulable, NAMES.progress in node.annotations, NAMES.wanted_version in node.labels) == (
        False, False, False,
    )  # fmt: skip


def test_a_note_that_is_nonsense_is_as_good_as_none() -> None:
    for note in ("", "{", "[]", "null", '{"to": 1}', '{"to": "1.0.0", "phase": "Flying", "since": "x"}', "x" * 5000):
        fleet = _installed(1)
        fleet.change("n0", annotations={NAMES.progress: note})
        fleet.settle(10)
        assert _progress(fleet, "n0").phase is Phase.DONE
    assert read_progress(json.dumps({"to": "1", "phase": "Done", "since": "2026-01-01T00:00:00"})) is not None


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1999-01-01T00:00:00Z"])
def test_a_time_at_the_ends_of_the_calendar_is_no_time(since: str) -> None:
    """Whoever may write a node's annotations could stop the operator with it."""
    note = json.dumps({"to": "1.0.0", "phase": "Loading", "since": since, "cordoned": "true"})
    assert read_progress(note) is None
    fleet = _installed(1)
    fleet.change("n0", annotations={NAMES.progress: note})
    fleet.settle(5)
    assert _progress(fleet, "n0").phase is Phase.DONE


def test_a_step_that_was_begun_in_the_future_takes_too_long_all_the_same() -> None:
    fleet = _installed(1)
    fleet.broken.add(("1.1.0", OLD_KERNEL))
    want(fleet, "1.1.0")
    fleet.settle(5)
    fleet.now -= timedelta(days=2)
    fleet.settle(3)
    fleet.wait(1000)
    fleet.settle(3)
    assert _progress(fleet, "n0").phase is Phase.FAILED


def test_a_node_is_changed_once_in_a_pass_whatever_its_clock_says() -> None:
    fleet = _installed(1)
    fleet.now -= timedelta(days=2)
    want(fleet, "1.1.0")
    assert [change.name for change in fleet.decide().nodes] == ["n0"]
    fleet.settle(50)
    assert _has(fleet, "1.1.0") == ["n0"]


def test_a_clock_that_goes_back_ends_no_step_early() -> None:
    fleet = _installed(1)
    fleet.broken.add(("1.1.0", OLD_KERNEL))
    want(fleet, "1.1.0")
    fleet.settle(10)
    fleet.now -= timedelta(days=2)
    fleet.settle(5)
    assert _progress(fleet, "n0").phase is Phase.LOADING


def test_offered_releases_are_judged_and_unknown_is_never_safe() -> None:
    fleet = _installed(1)
    assert fleet.condition("UpdateSafe") == ("Unknown", "NotOpenShift")
    fleet.apis[VERSION_KIND] = Known.UNKNOWN
    assert fleet.condition("UpdateSafe") == ("Unknown", "ApiUnknown")
    fleet.updates = ClusterUpdates(desired="4.18.1", current="4.18.1")
    assert fleet.condition("UpdateSafe") == ("True", "NothingOffered")
    fleet.updates = ClusterUpdates(desired="4.18.1", current="4.18.1", offered=("4.18.2",))
    assert fleet.condition("UpdateSafe") == ("True", "AllSafe")
    fleet.updates = ClusterUpdates(desired="4.18.1", current="4.18.1", offered=("4.18.2", "4.18.9"))
    assert fleet.condition("UpdateSafe") == ("Unknown", "ReleaseUnknown")
    index = make_index({"1.0.0": (OLD_KERNEL,)}, z1=(OLD_KERNEL,), z2=(NEW_KERNEL,))
    fleet.index = dataclasses.replace(fleet.index, index=index)
    decision = fleet.decide()
    assert fleet.condition("UpdateSafe") == ("False", "ReleaseNotCovered")
    assert [item["state"] for item in decision.status["releases"]] == ["Unsafe", "Unknown"]
    said = {key[1][1][1]: value for key, value in decision.metrics.items() if key[0] == "kmod_update_target_covered"}
    assert said == {"4.18.2": 0.0}
    fleet.item["spec"]["clusterUpdate"] = {"policy": "Ignore"}
    assert fleet.condition("UpdateSafe") == ("Unknown", "NotChecked")


def test_variants_that_no_node_runs_make_no_release_unsafe() -> None:
    fleet = _installed(1)
    rt = f"{NEW_KERNEL}+rt"
    index = make_index({"1.0.0": (OLD_KERNEL, NEW_KERNEL)}, z2=(NEW_KERNEL, rt), z3=(rt,))
    fleet.index = dataclasses.replace(fleet.index, index=index)
    fleet.updates = ClusterUpdates(desired="4.18.1", current="4.18.1", offered=("4.18.2", "4.18.3"))
    assert [item["state"] for item in fleet.decide().status["releases"]] == ["Unknown", "Safe"]
    fleet.nodes["rt"] = Node(name="rt", kernel=f"{OLD_KERNEL}+rt", arch="amd64", labels=dict(WORKER), version="1")
    assert [item["state"] for item in fleet.decide().status["releases"]] == ["Unsafe", "Unsafe"]


def _offer(fleet: Fleet, *kernels: str) -> None:
    index = make_index({"1.0.0": (OLD_KERNEL, *kernels)}, z1=(OLD_KERNEL,), z2=(NEW_KERNEL,))
    fleet.index = dataclasses.replace(fleet.index, index=index)


def test_pools_are_held_while_the_next_kernel_has_no_image_and_let_go_by_themselves() -> None:
    fleet = _installed(1, clusterUpdate={"policy": "HoldPools"})
    fleet.pools["infra"] = Pool(name="infra", selector={"matchLabels": {"infra": ""}})
    _offer(fleet)
    fleet.updates = ClusterUpdates(desired="4.18.1", current="4.18.1", offered=("4.18.2",))
    fleet.settle(3)
    assert not fleet.pools["worker"].paused  # it is offered, and not on its way
    fleet.updates = ClusterUpdates(desired="4.18.2", current="4.18.1")
    fleet.settle(3)
    assert (fleet.pools["worker"].paused, fleet.pools["infra"].paused) == (True, False)
    assert fleet.decide().pools == ()
    _offer(fleet, NEW_KERNEL)
    fleet.settle(3)
    assert (fleet.pools["worker"].paused, dict(fleet.pools["worker"].annotations)) == (False, {})
    assert NEW_KERNEL in read_mappings(fleet.module)


def test_a_pool_that_an_administrator_paused_stays_so_and_warn_holds_none() -> None:
    fleet = _installed(1, clusterUpdate={"policy": "HoldPools"})
    fleet.pools["worker"] = dataclasses.replace(fleet.pools["worker"], paused=True)
    fleet.updates = ClusterUpdates(desired="4.18.9", current="4.18.1")
    fleet.settle(3)
    fleet.updates = ClusterUpdates(desired="4.18.2", current="4.18.1")
    fleet.settle(3)
    assert fleet.pools["worker"].paused
    fleet = _installed(1)
    fleet.updates = ClusterUpdates(desired="4.18.9", current="4.18.1")
    fleet.settle(3)
    assert not fleet.pools["worker"].paused


def test_a_pool_that_somebody_let_go_is_not_held_again_for_the_same_release() -> None:
    fleet = _installed(1, clusterUpdate={"policy": "HoldPools"})
    fleet.updates = ClusterUpdates(desired="4.18.9", current="4.18.1")
    fleet.settle(3)
    fleet.pools["worker"] = dataclasses.replace(fleet.pools["worker"], paused=False)
    fleet.settle(3)
    assert not fleet.pools["worker"].paused
    fleet.updates = ClusterUpdates(desired="4.18.10", current="4.18.1")
    fleet.settle(3)
    assert fleet.pools["worker"].paused


def test_no_release_is_safe_for_nodes_that_nobody_knows() -> None:
    fleet = make_fleet(0)
    fleet.updates = ClusterUpdates(desired="4.18.1", current="4.18.1", offered=("4.18.2",))
    assert fleet.condition("UpdateSafe") == ("Unknown", "ReleaseUnknown")


def test_a_held_pool_is_let_go_when_people_no_longer_want_it() -> None:
    fleet = _installed(1, clusterUpdate={"policy": "HoldPools"})
    fleet.updates = ClusterUpdates(desired="4.18.9", current="4.18.1")
    fleet.settle(3)
    assert fleet.pools["worker"].paused
    fleet.item["spec"]["clusterUpdate"] = {"policy": "Warn"}
    fleet.settle(3)
    assert not fleet.pools["worker"].paused


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"key": "a", "operator": "In", "values": ["x"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["x"]}, False),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "operator": "DoesNotExist"}, False),
        ({"key": "a", "operator": "Gt", "values": ["1"]}, False),
        ("nonsense", False),
    ],
)
def test_pools_choose_nodes_by_expressions(rule: Any, *, fits: bool) -> None:
    fleet = _installed(1, clusterUpdate={"policy": "HoldPools"})
    fleet.label("n0", a="x")
    fleet.pools["worker"] = Pool(name="worker", selector={"matchExpressions": [rule]})
    fleet.updates = ClusterUpdates(desired="4.18.9", current="4.18.1")
    fleet.settle(3)
    assert fleet.pools["worker"].paused is fits


def test_a_module_of_somebody_else_is_not_touched() -> None:
    fleet = make_fleet(1)
    other = {"apiVersion": "kmm.sigs.x-k8s.io/v1beta1", "kind": "Module", "metadata": {"name": "ptemplate"}}
    fleet.objects[f"{MODULE_KIND} drv/ptemplate"] = other
    fleet.settle(5)
    assert list(fleet.objects.values()) == [other]
    assert fleet.condition("Ready") == ("False", "ModuleIsAnothers")
    assert fleet.condition("Degraded") == ("True", "ModuleIsAnothers")
    fleet.item["metadata"]["deletionTimestamp"] = "2026-11-27T06:00:00Z"
    fleet.settle(5)
    assert (list(fleet.objects.values()), fleet.has_finalizer) == ([other], False)


@pytest.mark.parametrize(
    ("known", "ready"), [(Known.NO, ("False", "KmmAbsent")), (Known.UNKNOWN, ("Unknown", "ApiUnknown"))]
)
def test_without_kmm_nothing_is_done_and_unknown_is_not_absent(known: Known, ready: tuple[str, str]) -> None:
    fleet = make_fleet(1)
    fleet.apis[MODULE_KIND] = known
    decision = fleet.decide()
    assert (decision.apply, decision.nodes, decision.delete) == ((), (), ())
    assert fleet.condition("Ready") == ready
    assert fleet.condition("PrerequisitesMet") == (str(ready[0]), ready[1])


def test_what_is_lacking_is_told_before_it_is_needed() -> None:
    fleet = _installed(1, clusterUpdate={"policy": "HoldPools"})
    fleet.rights["hold-pools"] = Known.NO
    assert fleet.condition("PrerequisitesMet") == ("False", "MayNotHoldPools")
    fleet.apis["machineconfiguration.openshift.io/v1 MachineConfigPool"] = Known.NO
    assert fleet.condition("PrerequisitesMet") == ("False", "NotOpenShift")
    fleet.apis["nfd.openshift.io/v1alpha1 NodeFeatureRule"] = Known.NO
    assert fleet.condition("PrerequisitesMet") == ("False", "NfdAbsent")
    assert not [item for item in fleet.decide().apply if item["kind"] == "NodeFeatureRule"]


def test_objects_that_are_wanted_no_more_go_and_the_module_never_does() -> None:
    fleet = _installed(1)
    fleet.item["spec"]["devices"] = {"mode": "None"}
    decision = fleet.turn()
    assert decision.delete == ("apps/v1 DaemonSet drv/ptemplate", "v1 ServiceAccount drv/plugin")
    fleet.index = IndexState()
    assert fleet.decide().delete == ()


def test_everything_of_ours_says_whose_it_is() -> None:
    for item in make_fleet(1).decide().apply:
        assert item["metadata"]["labels"][f"{GROUP}/driver"] == "ptemplate"
        (owner,) = item["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["blockOwnerDeletion"]) == ("KernelDriver", "u1", False)


def test_tolerations_and_labels_are_those_of_the_object() -> None:
    tolerations = [{"key": "gpu", "operator": "Exists"}]
    fleet = make_fleet(2, tolerations=tolerations, nodeSelector={"gpu": "yes"})
    assert fleet.condition("Ready") == ("False", "NoNodes")
    assert fleet.decide().apply  # rules and plugin; KMM takes no Module without a mapping
    fleet.label("n0", gpu="yes")
    objects = {item["kind"]: item for item in fleet.decide().apply}
    assert objects["Module"]["spec"]["selector"] == {"gpu": "yes"}
    *always, said = objects["Module"]["spec"]["tolerations"]
    assert said == tolerations[0]
    assert all(one["key"].startswith("node.kubernetes.io/") for one in always)
    assert objects["DaemonSet"]["spec"]["template"]["spec"]["tolerations"] == tolerations
    fleet.settle()
    assert _has(fleet, "1.0.0") == ["n0"]


def test_a_cordoned_node_keeps_its_driver_and_gets_the_next() -> None:
    """A cordon is a taint, and from a node with one that the Module does not tolerate KMM takes the driver."""
    fleet = _installed(2, rollout={"maxUnavailable": 1})
    fleet.change("n0", unschedulable=True)
    fleet.settle()
    assert _has(fleet, "1.0.0") == ["n0", "n1"]
    want(fleet, "1.1.0")
    fleet.settle()
    assert _has(fleet, "1.1.0") == ["n0"], "people drained it; the other one waits for them"
    assert fleet.nodes["n0"].unschedulable
    module = fleet.module
    module["spec"]["tolerations"] = [one for one in module["spec"]["tolerations"] if "unsched" not in one["key"]]
    fleet.kmm()
    assert _has(fleet, "1.1.0") == [], "or the test could not fail"


def test_a_monitor_is_made_where_it_is_wanted_and_can_be() -> None:
    fleet = make_fleet(1, monitoring={"enabled": True})
    assert "PodMonitor" not in {item["kind"] for item in fleet.decide().apply}
    fleet.apis["monitoring.coreos.com/v1 PodMonitor"] = Known.YES
    assert "PodMonitor" in {item["kind"] for item in fleet.decide().apply}


def _delete(fleet: Fleet) -> None:
    fleet.item["metadata"]["deletionTimestamp"] = fleet.now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _remove(fleet: Fleet, turns: int = 60) -> list[str]:
    """Return what goes, in its order."""
    seen: list[str] = []
    for _ in range(turns):
        decision = fleet.turn()
        seen += [*(f"evict {pod.name}" for pod in decision.evict), *(name.split()[1] for name in decision.delete)]
        fleet.kmm()
        fleet.wait(5)
        if not decision.finalizer:
            break
    return seen


def test_a_removal_waits_for_pods_and_goes_from_the_plugin_to_the_driver_and_leaves_nothing() -> None:
    fleet = _installed(2)
    _user(fleet, "n0")
    _delete(fleet)
    assert _remove(fleet, 20) == []
    assert "waits for work/job to end" in fleet.item["status"]["conditions"][0]["message"]
    fleet.pods.clear()
    assert _remove(fleet)[:2] == ["DaemonSet", "Module"]
    assert (fleet.has_finalizer, fleet.objects, fleet.loaded) == (False, {}, {})
    assert all(not node.annotations and NAMES.wanted_version not in node.labels for node in fleet.nodes.values())


def test_a_removal_evicts_who_stays_and_not_while_it_could_come_back() -> None:
    """As long as there is a plugin, an evicted pod finds a device again, on the same node."""
    fleet = _installed(2)
    _user(fleet, "n0")
    _delete(fleet)
    assert _remove(fleet, 119) == []
    assert _remove(fleet)[:3] == ["DaemonSet", "evict job", "Module"]
    assert (fleet.has_finalizer, fleet.objects) == (False, {})


def test_a_removal_does_not_wait_for_ever() -> None:
    fleet = _installed(2)
    _user(fleet, "n0")
    fleet.sticky.add("job")
    _delete(fleet)
    fleet.settle(5)
    assert len(fleet.objects) == 4
    assert fleet.condition("Ready") == ("False", "BeingRemoved")
    fleet.wait(601)
    assert _remove(fleet, 30).count("Module") == 0
    fleet.wait(900)
    _remove(fleet)
    assert (fleet.has_finalizer, fleet.objects) == (False, {})


def test_a_removal_that_may_not_change_pools_ends() -> None:
    fleet = _installed(1, clusterUpdate={"policy": "HoldPools"})
    fleet.updates = ClusterUpdates(desired="4.18.9", current="4.18.1")
    fleet.settle(3)
    fleet.rights["hold-pools"] = Known.NO
    assert fleet.decide().pools == ()
    _delete(fleet)
    _remove(fleet)
    assert (fleet.pools["worker"].paused, fleet.has_finalizer, fleet.objects) == (True, False, {})


@pytest.mark.parametrize("driver", [{"name": "other", "version": "1"}, {}])
def test_nodes_and_pools_are_given_back_also_where_the_driver_is_not_known_any_more(driver: dict[str, str]) -> None:
    fleet = _installed(1, clusterUpdate={"policy": "HoldPools"})
    fleet.updates = ClusterUpdates(desired="4.18.9", current="4.18.1")
    _user(fleet, "n0")
    fleet.sticky.add("job")
    want(fleet, "1.1.0")
    fleet.settle(3)
    assert (fleet.nodes["n0"].unschedulable, fleet.pools["worker"].paused) == (True, True)
    fleet.item["spec"]["driver"] = driver
    _delete(fleet)
    _remove(fleet)
    assert (fleet.nodes["n0"].unschedulable, fleet.pools["worker"].paused, fleet.has_finalizer) == (False, False, False)
    assert NAMES.progress not in fleet.nodes["n0"].annotations


def test_a_module_that_does_not_go_ends_the_wait_with_a_warning() -> None:
    fleet = _installed(1)
    _delete(fleet)
    module = fleet.module
    fleet.wait(10_000)
    for _ in range(5):
        fleet.turn()
        fleet.objects[f"{MODULE_KIND} drv/ptemplate"] = module
    decision = fleet.decide()
    assert not decision.finalizer
    assert decision.events[-1].is_warning


def test_a_removal_lets_pools_and_nodes_go() -> None:
    fleet = _installed(1, clusterUpdate={"policy": "HoldPools"})
    fleet.updates = ClusterUpdates(desired="4.18.9", current="4.18.1")
    fleet.settle(3)
    _user(fleet, "n0")
    fleet.sticky.add("job")
    want(fleet, "1.1.0")
    fleet.settle(3)
    assert fleet.nodes["n0"].unschedulable
    fleet.wait(2)
    _delete(fleet)
    fleet.pods.clear()
    _remove(fleet)
    assert (fleet.pools["worker"].paused, fleet.nodes["n0"].unschedulable, fleet.has_finalizer) == (False, False, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"driver": {"version": "1"}}, "spec.driver.name is absent"),
        ({"driver": {"name": "ptemplate", "version": 1}}, "spec.driver.version is 1, and no text"),
        ({"driver": []}, r"spec.driver is \[\], and no mapping"),
        ({"index": {}}, "either a configMap or an image"),
        ({"index": {"configMap": "a", "image": "b"}}, "and not both"),
        ({"rollout": {"maxUnavailable": 0}}, "maxUnavailable is 0; it is a number of nodes, or a share"),
        ({"rollout": {"maxUnavailable": "0%"}}, "maxUnavailable is '0%'"),
        ({"rollout": {"maxUnavailable": True}}, "maxUnavailable is True"),
        ({"rollout": {"canary": {"soakSeconds": 5}}}, "canary.nodeSelector is absent"),
        ({"rollout": {"canary": {"nodeSelector": {"a": 1}}}}, "the value of 'a' is no text"),
        ({"rollout": {"timeoutSeconds": 1}}, "timeoutSeconds is 1; it is a number from 10 to 604800"),
        ({"rollout": {"paused": "yes"}}, "paused is 'yes'; it is true or false"),
        ({"devices": {"mode": "Maybe"}}, "mode is 'Maybe'; it is one of DevicePlugin, None"),
        ({"tolerations": [1]}, "no list of mappings"),
        ({"clusterUpdate": {"policy": []}}, "it is one of Warn, Ignore, HoldPools"),
    ],
)
def test_an_object_that_says_what_cannot_be_done_is_told_so_and_nothing_is_changed(
    change: dict[str, Any], words: str
) -> None:
    item = make_item(**change)
    with pytest.raises(SpecError, match=words):
        read_spec(item, GROUP)
    fleet = make_fleet(1)
    fleet.item = item
    decision = fleet.decide()
    assert (decision.apply, decision.nodes, decision.delete) == ((), (), ())
    assert fleet.condition("PrerequisitesMet") == ("False", "InvalidSpec")


def test_a_driver_of_another_vendor_is_not_ours() -> None:
    fleet = make_fleet(1)
    fleet.item["spec"]["driver"] = {"name": "other", "version": "1"}
    assert fleet.condition("Ready") == ("False", "UnknownDriver")
    assert "ptemplate" in fleet.decide().status["conditions"][0]["message"]


@pytest.mark.parametrize(
    ("text", "nodes", "most"), [("10%", 4, 1), ("10%", 500, 50), ("100%", 3, 3), ("7", 3, 7), ("1%", 0, 1)]
)
def test_the_budget_is_a_number_or_a_share_and_at_least_one(text: str, nodes: int, most: int) -> None:
    assert read_spec(make_item(rollout={"maxUnavailable": text}), GROUP).budget(nodes) == most


def test_a_condition_keeps_its_time_while_it_holds_as_before() -> None:
    fleet = _installed(1)
    began = {one["type"]: one["lastTransitionTime"] for one in fleet.item["status"]["conditions"]}
    fleet.wait(3600)
    fleet.turn()
    assert {one["type"]: one["lastTransitionTime"] for one in fleet.item["status"]["conditions"]} == began
    fleet.change("n0", ready=Known.NO)
    fleet.turn()
    changed = {one["type"]: one["lastTransitionTime"] for one in fleet.item["status"]["conditions"]}
    assert changed["Ready"] != began["Ready"]
    assert changed["IndexTrusted"] == began["IndexTrusted"]


def test_each_change_is_told_once_and_in_words_of_the_table() -> None:
    fleet = _installed(2)
    told = [reason for reason, _ in fleet.told if reason != "NodeStep"]
    assert len(told) < 20
    assert set(told) <= set(REASONS)
    fleet.told.clear()
    fleet.turn()
    assert fleet.told == []


def test_the_status_is_bounded_with_5000_nodes() -> None:
    fleet = make_fleet(0)
    kernels = [f"5.14.0-{number}.el9.x86_64" for number in range(200)]
    for number in range(5000):
        name = f"node-{number:04}.example.com"
        fleet.nodes[name] = Node(name=name, kernel=kernels[number % 200], arch="amd64", labels=dict(WORKER))
    fleet.updates = ClusterUpdates(offered=tuple(f"4.18.{number}" for number in range(500)))
    status = fleet.decide().status
    assert len(json.dumps(status)) < 60_000
    assert (len(status["kernels"]), len(status["releases"]), status["nodes"]["selected"]) == (64, 64, 5000)


def test_equal_worlds_give_equal_decisions() -> None:
    fleet = make_fleet(3)
    for _ in range(10):
        assert fleet.decide() == fleet.decide()
        fleet.turn()
        fleet.kmm()
        fleet.wait(5)
    assert fleet.now > BEGIN


def _explain(fleet: Fleet, name: str = "n0") -> str:
    return " ".join(explain(name, fleet.item, TEMPLATES, fleet.world()).sentences)


def test_a_node_is_explained_whatever_it_lacks() -> None:
    fleet = make_fleet(2)
    assert "no node nx; it has 2 others" in _explain(fleet, "nx")
    assert "n0 does not have ptemplate. It begins now." in _explain(fleet)
    fleet.turn()
    fleet.wait(30)
    assert "It is loading for 30 s: KMM is loading the driver; 870 s are left." in _explain(fleet)
    assert f"Its kernel {OLD_KERNEL} has the image {image('1.0.0', OLD_KERNEL)}." in _explain(fleet)
    assert "It waits: 1 nodes are on their way" in _explain(fleet, "n1")
    fleet.settle(200)
    assert _explain(fleet).startswith(f"n0 has ptemplate 1.0.0, with 3 {RESOURCE}.")
    fleet.change("n0", unschedulable=True)
    assert "cordoned by somebody else" in _explain(fleet)
    fleet.index = dataclasses.replace(fleet.index, trouble="it is older", trouble_reason="OlderIndex")
    assert "Of the index: it is older. An older index lies there" in _explain(fleet)
    fleet.reboot("n0", "9.9")
    assert "does not have ptemplate. Kernel 9.9 has no image of version 1.0.0." in _explain(fleet)
    fleet.label("n0", **{"node-role.kubernetes.io/worker": None})
    assert "lacks the label node-role.kubernetes.io/worker= (versions.yaml)" in _explain(fleet)


def test_what_keeps_all_nodes_is_explained() -> None:
    fleet = make_fleet(1)
    fleet.apis[MODULE_KIND] = Known.NO
    assert "Nothing is done at all: the cluster has no Kernel Module Management" in _explain(fleet)
    fleet.item["spec"]["driver"] = {"name": "other", "version": "1"}
    assert "not made for driver other" in _explain(fleet)
    fleet.item["spec"]["driver"] = {}
    assert "spec.driver.name is absent" in _explain(fleet)


def test_an_upgrade_is_explained() -> None:
    fleet = _installed(1)
    _user(fleet, "n0")
    fleet.sticky.add("job")
    want(fleet, "1.1.0")
    fleet.settle(3)
    assert "n0 has ptemplate 1.0.0, and is to have 1.1.0. It is draining for" in _explain(fleet)
    assert "It was cordoned by this operator." in _explain(fleet)
    fleet.wait(601)
    fleet.settle(3)
    assert "work/job still uses its devices" in _explain(fleet)


def test_docs_have_every_reason_in_the_words_of_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operator.md").read_text(encoding="utf-8")
    for reason, words in {**REASONS, **EVENTS}.items():
        assert f"| `{reason}` | {words[:1].upper()}{words[1:]} |" in text
    for condition in Condition:
        assert f"| `{condition}` |" in text
    for state in State:
        assert f"| {state} |" in text
    for head, table in (("Reason", REASONS), ("Event", EVENTS)):
        rows = text.partition(f"| {head} |")[2].partition("\n\n")[0]
        assert re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE) == list(table), "no other row, in the table's order"


def test_no_reason_is_in_the_table_that_is_never_given() -> None:
    folder = Path(__file__).parents[2] / "operator" / "kmod_operator"
    files = [file for part in ("rollout", "cluster", "index") for file in (folder / part).glob("*.py")]
    text = "".join(file.read_text(encoding="utf-8") for file in files if file.name != "reasons.py")
    assert not [reason for reason in (*REASONS, *EVENTS) if f'"{reason}"' not in text]


def test_every_reason_that_is_given_is_in_the_table() -> None:
    folder = Path(__file__).parents[2] / "operator" / "kmod_operator"
    files = [file for part in ("rollout", "cluster") for file in (folder / part).glob("*.py")]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    given = set(re.findall(r'reason="(\w+)"', text)) | set(re.findall(r'(?:told|not_ready)\([^"]*"(\w+)"', text))
    given |= set(re.findall(r'reason="(\w+)" if \S+ else "\w+"', text))
    given |= set(re.findall(r'reason="\w+" if \S+ else "(\w+)"', text))
    assert given <= {*REASONS, *EVENTS}
    assert set(EVENTS) <= given
    assert not set(EVENTS) & set(REASONS)
    assert len(given) > 20
