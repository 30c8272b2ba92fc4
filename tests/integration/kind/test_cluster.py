"""The cluster that tests get: two nodes that do what a cluster's do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from integration.kind.client import wait_until
from integration.kind.cluster import describe
from integration.kind.recipe import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.kind.client import Client
    from integration.kind.cluster import Cluster

pytestmark = pytest.mark.kind
_NAMESPACE = "e2e-cluster"


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Iterator[Client]:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    cluster.client.apply(namespace)
    yield cluster.client
    cluster.client.delete(namespace)


def test_nodes_are_ready(cluster: Cluster) -> None:
    nodes = cluster.client.find("v1", "Node")
    ready = [item["status"] for node in nodes for item in node["status"]["conditions"] if item["type"] == "Ready"]
    assert ready == ["True"] * len(nodes)
    if cluster.world is not None:
        assert len(nodes) == 2
        assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {KUBERNETES}


def test_pods_of_both_nodes_find_a_service_by_its_name(cluster: Cluster, client: Client) -> None:
    """DNS on one node, a service's address, routes between nodes, logs: all at once."""
    if cluster.world is None:
        pytest.skip("another's cluster may not have this image")
    image = next(iter(_images(client, "kube-proxy")))
    # bash can open connections; DNS of a new cluster comes up after its nodes do.
    script = "until (exec 3<>/dev/tcp/kubernetes.default.svc.cluster.local/443); do sleep 1; done 2>/dev/null; echo reached from $NODE"
    pods = [_pod(f"asks-{number}", node, image, script) for number, node in enumerate(cluster.nodes)]
    for pod in pods:
        client.apply(pod)
    for pod in pods:
        name = pod["metadata"]["name"]
        wait_until(lambda name=name: _phase(client, name) == "Succeeded", seconds=120, what=name)  # type: ignore[misc]
        text = client.text(f"/api/v1/namespaces/{_NAMESPACE}/pods/{name}/log")
        assert text == f"reached from {pod['spec']['nodeName']}\n"


def test_a_claim_gets_its_volume(cluster: Cluster, client: Client) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "claim", "namespace": _NAMESPACE},
        "spec": spec,
    }
    client.apply(claim)
    wait_until(
        lambda: client.get("v1", "PersistentVolumeClaim", "claim", _NAMESPACE)["status"]["phase"] == "Bound",
        what="its volume",
    )


def test_a_failure_is_described(cluster: Cluster, client: Client, tmp_path: Path) -> None:
    describe(cluster, tmp_path)
    assert "kubeletVersion" in (tmp_path / "objects" / "Node.yaml").read_text()
    assert any("kube-apiserver" in file.name and file.stat().st_size for file in (tmp_path / "logs").iterdir())
    assert (tmp_path / "events.txt").read_text()
    if cluster.world is not None:
        for node in cluster.nodes:
            assert "kubelet" in (tmp_path / f"{node}.journal").read_text()


def _images(client: Client, word: str) -> set[str]:
    return {
        container["image"]
        for pod in client.find("v1", "Pod", "kube-system")
        for container in pod["spec"]["containers"]
        if word in container["image"]
    }


def _pod(name: str, node: str, image: str, script: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["bash", "-c", script],
        "env": [{"name": "NODE", "value": node}],
    }
    spec = {
        "nodeName": node,
        "restartPolicy": "Never",
        "containers": [container],
        "tolerations": [{"operator": "Exists"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": _NAMESPACE}, "spec": spec}


def _phase(client: Client, name: str) -> str:
    return str(client.get("v1", "Pod", name, _NAMESPACE)["status"]["phase"])
