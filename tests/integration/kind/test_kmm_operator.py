"""What ``emit kmm`` writes, carried out by KMM itself in a cluster: up to what this machine's kernel allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.kind.client import wait_until
from integration.kind.rollout import (
    apply_files,
    have_authorities,
    kernel_of_nodes,
    loader_status,
    make_facts,
    push_driver,
    remove,
    wanted_on,
    worker_log,
    worker_pods,
)

if TYPE_CHECKING:
    from pathlib import Path

    from integration.kind.client import Client
    from integration.kind.cluster import Cluster
    from integration.kind.registry_in_cluster import Registry

pytestmark = pytest.mark.kind


def test_nodes_pull_the_published_image_by_digest_and_try_to_load(
    operator: Cluster, registry: Registry, worker: str, tmp_path: Path
) -> None:
    """Pulled from a registry with TLS and a password by the Secret that the Module names; copied; given to modprobe."""
    client, kernel = operator.client, kernel_of_nodes()
    digest = push_driver(operator, registry, tmp_path, "1")
    module = apply_files(client, make_facts(registry, {kernel: digest}), registry.pull_secret)
    try:
        have_authorities(client)
        (wanted,) = wait_until(lambda: wanted_on(client, worker), what="a NodeModulesConfig for the node")
        assert wanted["config"]["containerImage"] == f"{registry.host}/org/drv@{digest}"
        assert wanted["config"]["kernelVersion"] == kernel
        wait_until(lambda: _copied(client, digest), seconds=120, what="a worker pod that has our image")
        text = wait_until(lambda: worker_log(client), seconds=120, what="words of the worker")
        assert "modprobe" in text
        assert "drv" in text
    finally:
        remove(client, module)
    assert not wanted_on(client, worker)


def _copied(client: Client, digest: str) -> bool:
    """Whether the init container, which is our image, has ended well."""
    (pod,) = worker_pods(client)
    (state,) = pod["status"]["initContainerStatuses"]
    return digest in state["imageID"] and state["state"].get("terminated", {}).get("exitCode") == 0


def test_a_kernel_without_mapping_is_left_alone(operator: Cluster, registry: Registry, worker: str) -> None:
    client = operator.client
    facts = make_facts(registry, {"6.1.0-1-other": f"sha256:{'0' * 64}"})
    module = apply_files(client, facts, registry.pull_secret)
    try:
        seen = wait_until(lambda: loader_status(client), what="that KMM has looked at the Module")
        assert seen["nodesMatchingSelectorNumber"] == 1
        assert not seen.get("desiredNumber")
        assert not wanted_on(client, worker)
    finally:
        remove(client, module)
