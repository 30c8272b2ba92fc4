"""What is kept of objects."""

from __future__ import annotations

from typing import Any

import pytest
from kmod_operator.cluster import trimming
from kmod_operator.cluster.trimming import Trimmer
from kmod_operator.rollout.names import Names
from kmod_operator.rollout.world import ClusterUpdates, Known, Pod

_TRIMMER = Trimmer("drivers.example.com", "kmod-operator")


def _node(**changes: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "a", "resourceVersion": "5", "labels": {"x": "y"},
            "annotations": {"drivers.example.com/p": "{}", "other.example.com/p": "long",
                            "machineconfiguration.openshift.io/state": "Done"},
        },
        "spec": {"unschedulable": True},
        "status": {
            "nodeInfo": {"kernelVersion": "5.14", "architecture": "arm64"},
            "conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": "True"}],
            "allocatable": {"drivers.example.com/p": "4", "cpu": "3920m", "memory": "1Gi", "odd": "-1", "zero": "0"},
            "images": ["x"] * 50,
        },
    } | changes  # fmt: skip


def test_of_a_node_what_matters_is_kept() -> None:
    node = _TRIMMER.node(_node())
    assert (node.name, node.kernel, node.arch, node.ready, node.unschedulable, node.version) == (
        "a", "5.14", "arm64", Known.YES, True, "5",
    )  # fmt: skip
    assert node.annotations == {"drivers.example.com/p": "{}", "machineconfiguration.openshift.io/state": "Done"}
    assert node.allocatable == {"drivers.example.com/p": 4, "zero": 0}
    assert node.labels == {"x": "y"}


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ([{"type": "Ready", "status": "False"}], Known.NO),
        ([{"type": "Ready", "status": "Unknown"}], Known.UNKNOWN),
        ([{"type": "Ready"}], Known.UNKNOWN),
        ([], Known.UNKNOWN),
        (None, Known.UNKNOWN),
    ],
)
def test_a_node_is_ready_when_it_says_so(conditions: Any, ready: Known) -> None:
    assert _TRIMMER.node(_node(status={"conditions": conditions})).ready is ready


def test_a_node_that_has_just_been_made_has_little() -> None:
    node = _TRIMMER.node({"metadata": {"name": "new"}})
    assert (node.kernel, node.ready, node.unschedulable) == ("", Known.UNKNOWN, False)


def test_a_heartbeat_is_no_change() -> None:
    one = _TRIMMER.node(_node())
    assert trimming.is_same_node(
        one, _TRIMMER.node({**_node(), "metadata": {**_node()["metadata"], "resourceVersion": "6"}})
    )
    changes: list[dict[str, Any]] = [{"spec": {}}, {"status": {}}, {"metadata": {"name": "a", "labels": {}}}]
    for changed in changes:
        assert not trimming.is_same_node(one, _TRIMMER.node(_node(**changed)))


def test_equal_words_are_kept_once() -> None:
    trimmer = Trimmer("g", "m")
    one, other = (trimmer.node({"metadata": {"name": "n", "labels": {"abc"[:2]: "x" * 20}}}) for _ in range(2))
    assert next(iter(one.labels)) is next(iter(other.labels))
    assert one.labels["ab"] is other.labels["ab"]


def test_of_a_pod_it_is_known_who_uses_what() -> None:
    pod = trimming.trim_pod(
        {
            "metadata": {
                "namespace": "w", "name": "p", "uid": "u", "deletionTimestamp": "now",
                "annotations": {"kubernetes.io/config.mirror": "x"},
                "ownerReferences": [{"kind": "Other"}, {"kind": "DaemonSet", "controller": True}],
            },
            "spec": {
                "nodeName": "n",
                "containers": [{"resources": {"limits": {"d/x": "2"}, "requests": {"d/x": "2"}}}, {}],
                "initContainers": [{"resources": {"requests": {"d/x": "1", "cpu": "1500m"}}}],
            },
            "status": {"phase": "Failed"},
        }
    )  # fmt: skip
    assert pod == Pod(
        namespace="w", name="p", uid="u", node="n", resources={"d/x": 3}, owner="DaemonSet", is_mirror=True,
        is_ending=True, is_over=True,
    )  # fmt: skip
    plain = trimming.trim_pod({"metadata": {"name": "p"}, "status": {"phase": "Running"}})
    assert (plain.owner, plain.is_over, plain.is_ending, plain.resources) == ("", False, False, {})


def test_of_a_cluster_version_all_releases_are_known() -> None:
    found = trimming.trim_updates(
        {
            "metadata": {"name": "version"},
            "status": {
                "desired": {"version": "4.18.26"},
                "history": [{"state": "Partial", "version": "4.18.26"}, {"state": "Completed", "version": "4.18.25"}],
                "availableUpdates": [{"version": "4.18.27"}, {"version": "4.18.28"}],
                "conditionalUpdates": [{"release": {"version": "4.18.28"}}, {"release": {"version": "4.19.1"}}, {}],
            },
        }
    )
    assert found == ClusterUpdates(desired="4.18.26", current="4.18.25", offered=("4.18.27", "4.18.28", "4.19.1"))
    assert trimming.trim_updates({"status": {"availableUpdates": None}}) == ClusterUpdates()


def test_of_a_pool_who_paused_it_is_known() -> None:
    pool = trimming.trim_pool(
        {
            "metadata": {"name": "worker", "resourceVersion": "3", "annotations": {"a": "b"}},
            "spec": {"paused": True, "nodeSelector": {"matchLabels": {}}},
        }
    )
    assert (pool.name, pool.paused, pool.annotations, pool.version) == ("worker", True, {"a": "b"}, "3")
    assert trimming.is_same_pool(
        pool,
        trimming.trim_pool(
            {
                "metadata": {"name": "worker", "annotations": {"a": "b"}},
                "spec": {"paused": True, "nodeSelector": {"matchLabels": {}}},
            }
        ),
    )
    assert not trimming.is_same_pool(pool, trimming.trim_pool({"metadata": {"name": "worker"}}))


@pytest.mark.parametrize(
    ("wanted", "there", "behind"),
    [("r-2", "r-1", Known.YES), ("r-2", "r-2", Known.NO), ("r-2", None, Known.UNKNOWN), (None, None, Known.UNKNOWN)],
)
def test_of_a_pool_it_is_known_whether_it_is_behind(wanted: str | None, there: str | None, behind: Known) -> None:
    parts: list[dict[str, Any]] = [{"configuration": {"name": name}} if name else {} for name in (wanted, there)]
    pool = trimming.trim_pool({"metadata": {"name": "w"}, "spec": parts[0], "status": parts[1]})
    assert (pool.behind, pool.max_unavailable) == (behind, "1")
    other = trimming.trim_pool({"metadata": {"name": "w"}, "spec": {"maxUnavailable": "10%"} | parts[0]})
    assert other.max_unavailable == "10%"
    assert not trimming.is_same_pool(pool, other)


def test_a_thousand_devices_are_a_thousand() -> None:
    """The API server writes quantities in its own way: 1000 is 1k, and 1500 is 1500."""
    told = {"a": "1k", "b": "1500", "c": "20k", "d": "1M", "e": "1.5k", "f": "1Ki", "g": "1k "}
    assert _TRIMMER.node(_node(status={"allocatable": told})).allocatable == {
        "a": 1000, "b": 1500, "c": 20_000, "d": 1_000_000,
    }  # fmt: skip
    container = {"resources": {"limits": {"a": "1k"}}}
    assert trimming.trim_pod({"metadata": {"name": "p"}, "spec": {"containers": [container]}}).resources == {"a": 1000}


def test_whatever_is_written_on_a_node_is_kept_of_it() -> None:
    """A pass that does not see what the pass before wrote would write it again and again."""
    names = Names(group="drivers.example.com", item="p", namespace="d", module="m")
    labels = {names.wanted_version: "1.0.0"}
    metadata = {"name": "a", "labels": labels, "annotations": {names.progress: "{}"}}
    node = _TRIMMER.node({"metadata": metadata})
    assert (node.labels, node.annotations) == (labels, {names.progress: "{}"})
    pool = trimming.trim_pool({"metadata": {"name": "w", "annotations": {names.held_by: "p"}}})
    assert pool.annotations == {names.held_by: "p"}
