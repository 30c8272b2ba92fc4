"""Kernels come to the canary first, then as the budget allows: which pools are paused meanwhile, and by whom."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Any

import pytest
from fakes.fleet import NAMES, NEW_KERNEL, OLD_KERNEL, TEMPLATES, WORKER, Fleet, make_fleet, make_index, want
from kmod_operator.rollout.explain import explain
from kmod_operator.rollout.progress import read_progress
from kmod_operator.rollout.world import CURRENT_CONFIG, DESIRED_CONFIG, ClusterUpdates, Known, Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

_CANARY = {"canary": "yes"}


def _site(
    count: int = 6, pools: Mapping[str, tuple[int, ...]] | None = None, *, canary: bool = True, **rollout: Any
) -> Fleet:
    """Return an installed fleet; ``pools`` are people's own, with the numbers of their nodes. The canary is n0."""
    rollout = {"maxUnavailable": 1, "drain": {"enabled": True}} | rollout
    if canary:
        rollout["canary"] = {"nodeSelector": _CANARY, "soakSeconds": 60}
    fleet = make_fleet(count, clusterUpdate={"policy": "HoldPools"}, rollout=rollout)
    fleet.label("n0", **_CANARY)
    for name, numbers in (pools or {"canary": (0,)}).items():
        fleet.pools[name] = Pool(name=name, selector={"matchLabels": {"pool": name}})
        for number in numbers:
            fleet.label(f"n{number}", pool=name)
    fleet.settle(100)
    assert fleet.condition("Ready") == ("True", "AllReady")
    return fleet


def _paused(fleet: Fleet) -> list[str]:
    return sorted(name for name, pool in fleet.pools.items() if pool.paused)


def _on(fleet: Fleet, kernel: str = NEW_KERNEL) -> list[str]:
    return sorted(name for name, node in fleet.nodes.items() if node.kernel == kernel)


def _go_on(fleet: Fleet, seconds: float = 10, **broken: bool) -> list[str]:
    """Have all parts work once; returns the nodes that were booted."""
    fleet.turn()
    booted = fleet.mco()
    if not broken:
        fleet.kmm()
    fleet.turn()
    fleet.wait(seconds)
    return booted


def test_a_kernel_comes_to_the_canary_first_soaks_and_then_comes_to_the_others() -> None:
    fleet = _site()
    fleet.release("4.18.2", NEW_KERNEL)
    fleet.turn()
    assert _paused(fleet) == ["worker"]
    assert ("PoolHeld", "n0 has it not yet") in [(reason, words[-17:]) for reason, words in fleet.told]
    told = explain("n1", fleet.item, TEMPLATES, fleet.world())
    assert told.state == "Ready"
    assert told.sentences[-1] == (
        "Its MachineConfigPool worker waits, so that it boots no other kernel yet: release 4.18.2 comes to the canary "
        "first: n0 has it not yet."
    )
    assert "waits" not in " ".join(explain("n0", fleet.item, TEMPLATES, fleet.world()).sentences)
    assert _go_on(fleet) == ["n0"]
    for _ in range(4):  # it has the driver again, and soaks: 60 s from then on
        assert _go_on(fleet) == []
    assert fleet.decide().again_after_s is not None
    fleet.wait(30)
    fleet.turn()
    assert _paused(fleet) == []
    for _ in range(12):
        _go_on(fleet)
    assert _on(fleet) == sorted(fleet.nodes)
    assert [dict(pool.annotations) for pool in fleet.pools.values()] == [{}, {}]
    assert fleet.condition("Ready") == ("True", "AllReady")


def test_a_kernel_on_which_the_canary_has_no_driver_comes_no_further() -> None:
    fleet = _site(timeoutSeconds=10)
    fleet.broken.add(("1.0.0", NEW_KERNEL))
    fleet.release("4.18.2", NEW_KERNEL)
    for _ in range(20):
        _go_on(fleet)
    assert (_on(fleet), _paused(fleet)) == (["n0"], ["worker"])
    assert fleet.condition("Degraded") == ("True", "StepFailed")
    fleet.broken.clear()
    for _ in range(20):
        _go_on(fleet)
    assert _on(fleet) == sorted(fleet.nodes)


def test_who_soaked_with_the_kernel_before_soaks_again_though_nobody_saw_it_go() -> None:
    fleet = _site()
    fleet.wait(10_000)
    before = read_progress(fleet.nodes["n0"].annotations[NAMES.progress])
    assert before is not None
    fleet.release("4.18.2", NEW_KERNEL)
    fleet.turn()
    fleet.mco("canary")
    fleet.kmm()  # it is loaded again before the operator looks
    fleet.turn()
    after = read_progress(fleet.nodes["n0"].annotations[NAMES.progress])
    assert after is not None
    assert (before.kernel, after.kernel, after.since) == (OLD_KERNEL, NEW_KERNEL, fleet.now)
    assert _paused(fleet) == ["worker"]


def test_a_release_that_brings_no_other_kernel_holds_nobody() -> None:
    fleet = _site()
    index = make_index({"1.0.0": (OLD_KERNEL,)}, z1=(OLD_KERNEL,), z3=(OLD_KERNEL,))
    fleet.index = dataclasses.replace(fleet.index, index=index)
    fleet.release("4.18.3", OLD_KERNEL)
    fleet.turn()
    assert _paused(fleet) == []


def test_pools_are_let_go_one_after_the_other_where_all_at_once_would_take_more_than_the_budget() -> None:
    fleet = _site(6, {"a": (0, 1), "b": (2, 3), "c": (4, 5)}, canary=False, maxUnavailable=2)
    fleet.release("4.18.2", NEW_KERNEL)
    fleet.turn()
    assert _paused(fleet) == ["c"]
    assert _go_on(fleet) == ["n0", "n2"]
    fleet.change("n2", ready=Known.NO)  # it does not come back
    for _ in range(5):
        _go_on(fleet)
    assert _on(fleet) == ["n0", "n1", "n2", "n3", "n4", "n5"]
    fleet = _site(6, {"a": (0, 1), "b": (2, 3), "c": (4, 5)}, canary=False, maxUnavailable=2)
    fleet.pools["a"] = dataclasses.replace(fleet.pools["a"], max_unavailable="100%")
    fleet.release("4.18.2", NEW_KERNEL)
    fleet.turn()
    assert _paused(fleet) == ["b", "c"]


@pytest.mark.parametrize(
    ("said", "held"),
    [("1", []), ("3", ["b"]), ("34%", []), ("100%", ["b"]), ("0", []), ("-1", []), ("9" * 30, []), ("", [])],
)
def test_what_a_pool_takes_of_the_budget_is_what_it_says(said: str, held: list[str]) -> None:
    fleet = _site(6, {"a": (0, 1, 2), "b": (3, 4, 5)}, canary=False, maxUnavailable=2)
    fleet.pools["a"] = dataclasses.replace(fleet.pools["a"], max_unavailable=said)
    fleet.release("4.18.2", NEW_KERNEL)
    fleet.turn()
    assert _paused(fleet) == held


def test_when_as_many_nodes_failed_as_may_the_kernel_comes_to_no_further_pool() -> None:
    fleet = _site(6, {"a": (0, 1), "b": (2, 3), "c": (4, 5)}, canary=False, maxUnavailable=2, timeoutSeconds=10)
    fleet.broken.add(("1.0.0", NEW_KERNEL))
    fleet.release("4.18.2", NEW_KERNEL)
    fleet.turn()
    for _ in range(6):
        fleet.kmm()
        fleet.turn()
        fleet.wait(20)
        if not _on(fleet):
            for name in ("n0", "n2"):
                fleet.reboot(name, NEW_KERNEL)
    assert _on(fleet) == ["n0", "n2"]
    assert _paused(fleet) == ["a", "b", "c"]
    fleet.broken.clear()
    for _ in range(20):
        _go_on(fleet)
    assert (_on(fleet), _paused(fleet)) == (sorted(fleet.nodes), [])


def test_a_cluster_that_calls_its_update_completed_has_pools_that_are_behind_all_the_same() -> None:
    """ClusterVersion waits for the control plane alone."""
    fleet = _site(canary=False)
    index = make_index({"1.0.0": (OLD_KERNEL,)}, z1=(OLD_KERNEL,), z2=(NEW_KERNEL,))
    fleet.index = dataclasses.replace(fleet.index, index=index)
    fleet.release("4.18.2", NEW_KERNEL)
    _go_on(fleet)
    assert _paused(fleet) == ["canary", "worker"]
    fleet.updates = ClusterUpdates(desired="4.18.2", current="4.18.2")
    for _ in range(3):
        _go_on(fleet)
    assert (_paused(fleet), _on(fleet)) == (["canary", "worker"], [])
    assert fleet.condition("UpdateSafe") == ("False", "ReleaseNotCovered")
    index = make_index({"1.0.0": (OLD_KERNEL, NEW_KERNEL)}, z1=(OLD_KERNEL,), z2=(NEW_KERNEL,))
    fleet.index = dataclasses.replace(fleet.index, index=index)
    for _ in range(20):
        _go_on(fleet)
    assert (_paused(fleet), _on(fleet)) == ([], sorted(fleet.nodes))


def test_a_release_that_nobody_knows_holds_on_but_not_who_has_arrived_with_it() -> None:
    fleet = _site(canary=False)
    fleet.release("4.18.9", NEW_KERNEL)
    _go_on(fleet)
    fleet.updates = ClusterUpdates(desired="4.18.9", current="4.18.9")
    _go_on(fleet)
    assert _paused(fleet) == ["canary", "worker"]
    fleet = _site(canary=False)
    fleet.release("4.18.9", OLD_KERNEL)
    fleet.updates = ClusterUpdates(desired="4.18.9", current="4.18.9")
    fleet.pools["worker"] = dataclasses.replace(fleet.pools["worker"], behind=Known.YES)
    fleet.turn()
    assert _paused(fleet) == [], "another configuration is on its way there, and no kernel that anybody knows of"


def test_a_node_is_of_one_pool_whatever_further_ones_it_has_the_labels_of() -> None:
    fleet = _site(2, {"zoo": (0, 1)}, canary=False)
    fleet.release("4.18.9", NEW_KERNEL)
    fleet.turn()
    assert _paused(fleet) == ["zoo"], "no node with the driver is in the pool 'worker'"
    fleet.pools["master"] = Pool(name="master", selector={"matchLabels": WORKER})
    fleet.updates = ClusterUpdates(desired="4.18.10", current="4.18.1")
    fleet.turn()
    assert _paused(fleet) == ["master"]


def test_canaries_that_share_a_pool_are_told_of() -> None:
    fleet = _site(3, {"other": ()})
    assert fleet.condition("PrerequisitesMet") == ("True", "CanarySharesPool")
    fleet = _site(3)
    assert fleet.condition("PrerequisitesMet") == ("True", "AllThere")
    fleet.item["spec"]["clusterUpdate"] = {"policy": "Warn"}
    fleet.label("n0", pool=None)
    assert fleet.condition("PrerequisitesMet") == ("True", "AllThere"), "nobody wants pools to be held"


def test_a_node_that_the_cluster_is_about_to_reboot_begins_nothing_and_takes_of_the_budget() -> None:
    fleet = _site(3, canary=False)
    annotations = {**fleet.nodes["n1"].annotations, DESIRED_CONFIG: "rendered-2", CURRENT_CONFIG: "rendered-1"}
    fleet.change("n1", annotations=annotations)
    want(fleet, "1.1.0")
    fleet.settle(20)
    assert {name: fleet.nodes[name].labels[NAMES.wanted_version] for name in fleet.nodes} == dict.fromkeys(
        fleet.nodes, "1.0.0"
    )
    assert fleet.condition("Progressing") == ("True", "MachineUpdating")
    fleet.item["spec"]["rollout"] |= {"maxUnavailable": 2}
    fleet.settle(40)
    told = {name: node.labels[NAMES.wanted_version] for name, node in fleet.nodes.items()}
    assert told == {"n0": "1.1.0", "n1": "1.0.0", "n2": "1.1.0"}
    fleet.change("n1", annotations=annotations | {CURRENT_CONFIG: "rendered-2"})
    fleet.settle(40)
    assert fleet.condition("Ready") == ("True", "AllReady")


def test_how_many_pools_are_held_is_a_number() -> None:
    fleet = _site()
    key = ("kmod_pools_held", (("driver", "ptemplate"),))
    assert fleet.decide().metrics[key] == 0
    fleet.release("4.18.2", NEW_KERNEL)
    assert fleet.decide().metrics[key] == 1
    fleet.item["spec"]["clusterUpdate"] = {"policy": "Warn"}
    assert key not in fleet.decide().metrics


@pytest.mark.parametrize("seed", range(20))
def test_wherever_it_is_killed_no_kernel_overtakes_the_canary_or_the_budget(seed: int) -> None:
    """A reboot takes minutes, and so does it until pools are to have the kernel: the next program has looked by then."""
    chance = random.Random(seed)
    budget = chance.choice([1, 2, 3])
    fleet = _site(7, {"canary": (0,), "a": (1, 2), "b": (3, 4)}, maxUnavailable=budget)
    fleet.release("4.18.2", "")
    fleet.turn()
    fleet.rendered = NEW_KERNEL
    for _ in range(400):
        match chance.choice(["operator", "operator", "cluster", "cluster", "kmm", "time", "completed"]):
            case "operator":
                fleet.turn(writes=chance.choice([None, 0, 1, 2]))
            case "cluster":
                fleet.turn()
                pool = chance.choice(sorted(fleet.pools))
                if any(name != "n0" for name in fleet.mco(pool)):
                    _check_canary(fleet)
                away = [name for name in fleet.nodes if name not in fleet.loaded]
                assert len(away) <= budget, away
            case "kmm":
                fleet.kmm(chance.choice(sorted(fleet.nodes)))
            case "time":
                fleet.wait(chance.choice([1, 20, 70]))
            case "completed" if fleet.pools["a"].behind is not Known.UNKNOWN:  # all pools are told before that
                fleet.updates = ClusterUpdates(desired="4.18.2", current="4.18.2")
    for _ in range(60):
        _go_on(fleet, 20)
    assert (_on(fleet), _paused(fleet)) == (sorted(fleet.nodes), [])
    assert fleet.turn().pools == ()


def _check_canary(fleet: Fleet) -> None:
    note = read_progress(fleet.nodes["n0"].annotations[NAMES.progress])
    assert note is not None
    assert (fleet.nodes["n0"].kernel, note.kernel) == (NEW_KERNEL, NEW_KERNEL)
    assert note.seconds(fleet.now) >= 60
