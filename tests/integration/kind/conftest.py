"""A cluster, or a part of one, for tests: each is made once for a run, and nothing of it stays."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.conftest import open_machine
from integration.kind.api_server import ApiServer, serve_api
from integration.kind.client import Client
from integration.kind.cluster import Cluster, describe, failure_dir
from integration.kind.kmm_operator import install
from integration.kind.make import make
from integration.kind.plugin_site import PublishedPlugin, publish_plugin
from integration.kind.recipe import KIND
from integration.kind.registry_in_cluster import Registry, serve_registry
from integration.kind.rollout import LABEL, set_label
from integration.kind.world import world_around_us

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Machine


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The real API server with the real etcd, alone; minutes where its programs are not built yet, then seconds."""
    with serve_api(tmp_path_factory.mktemp("api-server")) as api:
        yield api


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster that ``nox -s e2e`` made, or was told of. Without one a test fails; it is never skipped into green."""
    place, context = (os.environ.get(f"KMODSMITH_E2E_{name}", "") for name in ("KUBECONFIG", "CONTEXT"))
    if not place or not context:
        pytest.fail("there is no cluster: 'nox -s e2e' makes one, and runs this")
    world = world_around_us()
    kind = make([KIND])["kind"] if world else None
    client = Client.of(Path(place), context)
    found = Cluster(kubeconfig=Path(place), context=context, client=client, world=world, kind=kind)
    yield found
    if request.session.testsfailed:
        describe(found, failure_dir())
    client.http.close()


@pytest.fixture(scope="session")
def registry(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serve_registry(cluster, tmp_path_factory.mktemp("registry")) as serving:
        yield serving


@pytest.fixture(scope="session")
def plugin(
    machine: Machine, lock_text: str, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> PublishedPlugin:
    """The device plugin, built and published; once for all modes."""
    return publish_plugin(machine, lock_text, registry, tmp_path_factory.mktemp("device-plugin"))


@pytest.fixture(scope="session")
def operator(cluster: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """KMM in the cluster, which trusts the registry as OpenShift would tell it to."""
    if cluster.world is not None:  # whoever brings a cluster brings KMM as well
        install(cluster, tmp_path_factory.mktemp("kmm"), registry.authority_file.read_text())
    return cluster


@pytest.fixture
def worker(operator: Cluster) -> Iterator[str]:
    """A node with the device that the driver is for."""
    (node,) = [name for name in operator.nodes if "control-plane" not in name]
    set_label(operator.client, node, LABEL, "true")
    yield node
    set_label(operator.client, node, LABEL, None)


@pytest.fixture
def both(operator: Cluster, worker: str) -> Iterator[tuple[str, str]]:
    """Two nodes with the device: the worker, and the one that runs the control plane, and with it KMM's manager."""
    (other,) = [node for node in operator.nodes if node != worker]
    set_label(operator.client, other, LABEL, "true")
    yield worker, other
    set_label(operator.client, other, LABEL, None)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A fresh container store for builds, which reach Debian's archive: the cluster's network does not."""
    world = world_around_us()
    with open_machine(tmp_path_factory.mktemp("machine")) as opened:
        yield replace(opened, prefix=world.beyond() if world else ())
