"""What ``emit kmm`` writes, carried out by KMM itself in a cluster: up to what this machine's kernel allows."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.kmm_facts import kmm_facts

from builder.emit.kmm.files import KmmFacts, emit_kmm
from builder.emit.kmm.version import Flavour, KmmVersion
from builder.kernel import parse_kernel_version
from builder.publish.result import PublishedCell
from integration.kind.client import wait_until
from integration.kind.debian import PROXY_PACKAGES, make_root
from integration.kind.kmm_operator import fill_authorities, install
from integration.kind.node_image import import_image
from integration.kind.registry_in_cluster import Registry, push, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.kind.client import Client
    from integration.kind.cluster import Cluster

pytestmark = pytest.mark.kind
_NODE_LABEL = "feature.node.kubernetes.io/drv"
_NMC = ("kmm.sigs.x-k8s.io/v1beta1", "NodeModulesConfig")


@pytest.fixture(scope="module")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """KMM in the cluster. Whoever brings a cluster brings KMM as well."""
    if cluster.world is not None:
        install(cluster, tmp_path_factory.mktemp("kmm"))
    return cluster


@pytest.fixture(scope="module")
def registry(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serve_registry(cluster, tmp_path_factory.mktemp("registry")) as serving:
        yield serving


@pytest.fixture(scope="module")
def worker(operator: Cluster) -> Iterator[str]:
    """A node with the device that the driver is for."""
    (node,) = [item for item in operator.client.find("v1", "Node") if "control-plane" not in item["metadata"]["name"]]
    item = {"apiVersion": "v1", "kind": "Node", **node}
    operator.client.patch(item, {"metadata": {"labels": {_NODE_LABEL: "true"}}})
    yield node["metadata"]["name"]
    operator.client.patch(item, {"metadata": {"labels": {_NODE_LABEL: None}}})


def _facts(repository: str, digest: str, kernel: str) -> KmmFacts:
    """One published cell. Kernels of test machines have names of their own: only the name is theirs."""
    version = dataclasses.replace(parse_kernel_version("6.1.0-9-amd64"), raw=kernel)
    cell = PublishedCell(kernel=version, repository=repository, digest=digest, tags=())
    settings = {"selector": {_NODE_LABEL: "true"}, "pull_secret": "drv-pull"}
    return dataclasses.replace(kmm_facts(settings, firmware=()), cells=[cell], releases=[])


def _apply(client: Client, facts: KmmFacts, pull_secret: str) -> dict[str, Any]:
    """Apply the files as they are, in their order; secrets get their values, as the file says."""
    module: dict[str, Any] = {}
    for name, content in emit_kmm(facts, KmmVersion.V2_4, Flavour.OPENSHIFT).items():
        if not name.endswith(".yaml") or name == "imageset-config.yaml":
            continue
        for item in yaml.safe_load_all(content):
            if item["kind"] == "Secret":
                item["stringData"] = {".dockerconfigjson": pull_secret}
            applied = client.apply(item)
            module = applied if item["kind"] == "Module" else module
    return module


def _wanted(client: Client, node: str) -> list[dict[str, Any]]:
    found = [item for item in client.find(*_NMC) if item["metadata"]["name"] == node]
    return [module for item in found for module in item["spec"].get("modules") or ()]


def _worker_pod(client: Client) -> dict[str, Any]:
    (pod,) = [pod for pod in client.find("v1", "Pod", "drv") if pod["metadata"]["name"].startswith("kmm-worker-")]
    return pod


def test_nodes_pull_the_published_image_by_digest_and_try_to_load(
    operator: Cluster, registry: Registry, worker: str, tmp_path: Path
) -> None:
    """Pulled from a registry with TLS and a password by the Secret that the Module names; copied; given to modprobe."""
    assert operator.world is not None
    client, kernel = operator.client, os.uname().release
    module_file = tmp_path / "drv.ko"
    module_file.write_bytes(b"no module: kernels of test machines take none")
    files = {f"opt/lib/modules/{kernel}/extra/drv.ko": module_file}
    image = import_image(
        operator.world,
        "kmodsmith-e2e-drv:1",
        files,
        base=make_root("extract", PROXY_PACKAGES),
        links={"bin/sh": "bash"},
    )
    archive = tmp_path / "drv.tar"
    operator.world.docker("save", f"--output={archive}", image)
    digest = push(registry, archive, "org/drv:1")
    module = _apply(client, _facts(f"{registry.host}/org/drv", digest, kernel), registry.pull_secret)
    try:
        wait_until(lambda: fill_authorities(client, "drv"), what="the ConfigMaps that OpenShift would fill")
        (wanted,) = wait_until(lambda: _wanted(client, worker), what="a NodeModulesConfig for the node")
        assert wanted["config"]["containerImage"] == f"{registry.host}/org/drv@{digest}"
        assert wanted["config"]["kernelVersion"] == kernel
        wait_until(lambda: _copied(client, digest), seconds=120, what="a worker pod that has our image")
        text = wait_until(lambda: _worker_log(client), seconds=120, what="words of the worker")
        assert "modprobe" in text
        assert "drv" in text
    finally:
        client.delete(module)
    wait_until(lambda: not _wanted(client, worker), seconds=120, what="the end of the Module")


def _copied(client: Client, digest: str) -> bool:
    """Whether the init container, which is our image, has ended well."""
    (state,) = _worker_pod(client)["status"]["initContainerStatuses"]
    return digest in state["imageID"] and state["state"].get("terminated", {}).get("exitCode") == 0


def _worker_log(client: Client) -> str:
    pod = _worker_pod(client)
    (container,) = pod["spec"]["containers"]
    return client.text(f"/api/v1/namespaces/drv/pods/{pod['metadata']['name']}/log", container=container["name"])


def test_a_kernel_without_mapping_is_left_alone(operator: Cluster, registry: Registry, worker: str) -> None:
    client = operator.client
    facts = _facts(f"{registry.host}/org/drv", f"sha256:{'0' * 64}", "6.1.0-1-other")
    module = _apply(client, facts, registry.pull_secret)
    try:
        seen = wait_until(lambda: _status(client), what="that KMM has looked at the Module")
        assert seen["nodesMatchingSelectorNumber"] == 1
        assert not seen.get("desiredNumber")
        assert not _wanted(client, worker)
    finally:
        client.delete(module)


def _status(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("kmm.sigs.x-k8s.io/v1beta1", "Module", "drv", "drv")["status"]["moduleLoader"]
    return found
