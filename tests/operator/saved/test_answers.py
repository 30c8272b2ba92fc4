"""What a saved cluster answers: what was saved, and of the rest that it is not known."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.saved_cluster import HEARD, definition, make_saved
from kmod_operator.saved.answers import SavedCluster

_POOLS = "machineconfiguration.openshift.io/v1 MachineConfigPool"
_PODS = "/api/v1/pods"


def _get(cluster: SavedCluster, path: str, **query: str) -> tuple[int, Any]:
    found = cluster.answer("GET", path, query)
    return found.status, found.body


def _names(body: Any) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def test_objects_are_found_by_kind_namespace_labels_and_fields() -> None:
    pods = [
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space, "labels": {"app": name}},
            "spec": {"nodeName": node},
        }
        for name, space, node in (("a", "x", "n0"), ("b", "x", "n1"), ("c", "y", "n0"))
    ]  # fmt: skip
    cluster = SavedCluster([*make_saved(), *pods], ())
    assert _names(_get(cluster, _PODS)[1]) == ["a", "b", "c"]
    assert _names(_get(cluster, "/api/v1/namespaces/x/pods")[1]) == ["a", "b"]
    assert _names(_get(cluster, _PODS, fieldSelector="spec.nodeName=n0")[1]) == ["a", "c"]
    assert _names(_get(cluster, _PODS, labelSelector="app=b")[1]) == ["b"]
    assert _get(cluster, "/api/v1/namespaces/x/pods/a")[0] == 200
    assert _get(cluster, "/api/v1/namespaces/y/pods/a")[0] == 404
    assert _get(cluster, "/nonsense")[0] == 404
    assert _get(cluster, "/apis/g/v1/things")[0] == 404


def test_a_kind_is_absent_only_where_definitions_were_saved() -> None:
    with_definitions = SavedCluster(make_saved(), [_POOLS])
    groups = _get(with_definitions, "/apis")[1]["groups"]
    assert "machineconfiguration.openshift.io/v1" not in {one["versions"][0]["groupVersion"] for one in groups}
    without = SavedCluster([one for one in make_saved() if one["kind"] != "CustomResourceDefinition"], [_POOLS])
    (found,) = _get(without, "/apis/machineconfiguration.openshift.io/v1")[1]["resources"]
    status, body = _get(without, f"/apis/machineconfiguration.openshift.io/v1/{found['name']}")
    assert (status, body["message"].partition(",")[0]) == (
        503, "nothing of MachineConfigPool (machineconfiguration.openshift.io/v1) was saved",
    )  # fmt: skip


def test_a_kind_without_objects_is_there_where_it_is_defined() -> None:
    cluster = SavedCluster(make_saved(), ())
    assert _get(cluster, "/apis/kmm.sigs.x-k8s.io/v1beta1/modules") == (
        200, {"items": [], "metadata": {"resourceVersion": "1"}},
    )  # fmt: skip
    gone = definition("g.example", "v1", "Thing", "Namespaced")
    gone["spec"]["versions"][0]["served"] = False
    assert _get(SavedCluster([*make_saved(), gone], ()), "/apis/g.example/v1")[0] == 404


def test_pods_and_nodes_that_were_not_saved_are_not_known_to_be_none() -> None:
    cluster = SavedCluster([one for one in make_saved() if one["kind"] != "Node"], ())
    assert _get(cluster, _PODS)[0] == _get(cluster, "/api/v1/nodes")[0] == 503
    assert _get(cluster, "/apis/apps/v1/daemonsets")[0] == 200


def test_no_secret_is_read_and_nothing_written() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "x"}}
    cluster = SavedCluster([*make_saved(), secret], ())
    assert _get(cluster, "/api/v1/namespaces/x/secrets/s")[0] == 403
    assert cluster.answer("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}).status == 405


@pytest.mark.parametrize("said", ["", "yesterday", None, 5, [], "2026-13-01T00:00:00Z"])
def test_time_is_the_newest_heartbeat_that_can_be_read(said: Any) -> None:
    objects = make_saved()
    objects[0]["status"]["conditions"].append({"type": "DiskPressure", "lastHeartbeatTime": said})
    found = SavedCluster(objects, ()).saved_at
    assert found is not None
    assert found.isoformat() == HEARD.replace("Z", "+00:00")
    objects[0]["status"] = {"conditions": [{"lastHeartbeatTime": said}, "x"]}
    assert SavedCluster(objects, ()).saved_at is None


def test_wrong_types_are_no_end() -> None:
    odd: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "labels": [], "namespace": 5}, "status": 7},
        {"apiVersion": "x/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "b"}, "spec": "s"},
        {
            "apiVersion": "x/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "c"},
            "spec": {"versions": [1]},
        },
    ]
    assert _get(SavedCluster(odd, ()), "/api/v1/nodes", labelSelector="a=b")[1]["items"] == []
