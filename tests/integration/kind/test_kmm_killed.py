"""KMM's manager, a kubelet and the registry are killed in the middle of a rollout: it ends right, and nothing is loaded twice.

Nodes of kind cannot load modules, so the worker's ``modprobe`` writes each call down and ends well (``recorder.py``): what is
tried is who calls it how often, not what a kernel does then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from integration.kind.client import Client, wait_until
from integration.kind.cluster import load_images
from integration.kind.kmm_operator import WORKER, make_worker_image, use_worker, wait_for_manager
from integration.kind.recorder import Recorder, serve_recorder
from integration.kind.rollout import (
    LABEL,
    TOLERATIONS,
    apply_files,
    have_authorities,
    kernel_of_nodes,
    loaded_on,
    make_facts,
    push_driver,
    remove,
    set_label,
    worker_pods,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.kind.cluster import Cluster
    from integration.kind.registry_in_cluster import Registry

pytestmark = pytest.mark.kind
_READY = "kmm.node.kubernetes.io/drv.drv.ready"


@pytest.fixture(scope="module")
def recording(operator: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """KMM whose worker has a modprobe that is written down."""
    with serve_recorder(registry.host.partition(":")[0]) as recorder:
        script = recorder.write_script(tmp_path_factory.mktemp("recorder") / "modprobe")
        name = f"kmodsmith-e2e-kmm-recording-worker:{recorder.port}"
        # Here the path is looked through first.
        make_worker_image(operator, name, {"usr/local/bin/modprobe": script})
        load_images(operator, [name])
        use_worker(operator.client, name)
        yield recorder
        use_worker(operator.client, WORKER)


@pytest.fixture
def recorder(recording: Recorder) -> Iterator[Recorder]:
    for known in (recording.begun, recording.loads, recording.unloads):
        known.clear()
    yield recording
    recording.refused = 0
    recording.gate.set()


class _Rollout:
    """A Module for two nodes, of an image that no node has yet."""

    def __init__(self, cluster: Cluster, registry: Registry, folder: Path, nodes: tuple[str, str]) -> None:
        self.client, self.registry, self.nodes = cluster.client, registry, nodes
        digest = push_driver(cluster, registry, folder, str(time.time_ns()))
        self.image = f"{registry.host}/org/drv@{digest}"
        self._facts = make_facts(registry, {kernel_of_nodes(): digest}, tolerations=TOLERATIONS)

    def begin(self) -> None:
        self.module = apply_files(self.client, self._facts, self.registry.pull_secret)
        have_authorities(self.client)

    def is_done(self) -> bool:
        """Whether KMM says of both nodes that they have the module of this image, and labels them."""
        images = [module["config"]["containerImage"] for node in self.nodes for module in loaded_on(self.client, node)]
        ready = {node["metadata"]["name"] for node in self.client.find("v1", "Node", labelSelector=_READY)}
        return images == [self.image] * 2 and ready == set(self.nodes)

    def end(self) -> None:
        remove(self.client, self.module)


@pytest.fixture
def rollout(
    operator: Cluster, registry: Registry, both: tuple[str, str], recorder: Recorder, tmp_path: Path
) -> _Rollout:
    return _Rollout(operator, registry, tmp_path, both)


def _pods(nodes: tuple[str, str]) -> list[str]:
    """The pods by which KMM loads on nodes, one each."""
    return sorted(f"kmm-worker-{node}-drv" for node in nodes)


def _finish(rollout: _Rollout, recorder: Recorder) -> None:
    """Wait for the right end, and hold that each node was asked once: to load, and when all is over, to unload."""
    wait_until(rollout.is_done, seconds=240, what="that both nodes have the module")
    wait_until(lambda: not worker_pods(rollout.client), seconds=60, what="the end of the pods that loaded it")
    assert sorted(recorder.loads) == _pods(rollout.nodes)
    assert not recorder.unloads
    rollout.end()
    assert sorted(recorder.unloads) == _pods(rollout.nodes)
    assert sorted(recorder.loads) == _pods(rollout.nodes)


def _kill(cluster: Cluster, node: str, program: str) -> None:
    assert cluster.world is not None
    cluster.world.docker("exec", node, "pkill", "-KILL", "-x", program)


def test_the_manager_is_killed_while_nodes_load(operator: Cluster, rollout: _Rollout, recorder: Recorder) -> None:
    """What ends while nobody looks is found afterwards."""
    recorder.gate.clear()
    rollout.begin()
    wait_until(lambda: len(recorder.begun) == 2, seconds=180, what="that both nodes load")
    _kill(operator, rollout.nodes[1], "manager")
    recorder.gate.set()
    _finish(rollout, recorder)
    wait_for_manager(operator.client)


def test_a_kubelet_is_killed_while_its_node_loads(operator: Cluster, rollout: _Rollout, recorder: Recorder) -> None:
    recorder.gate.clear()
    rollout.begin()
    wait_until(lambda: len(recorder.begun) == 2, seconds=180, what="that both nodes load")
    _kill(operator, rollout.nodes[0], "kubelet")
    recorder.gate.set()
    _finish(rollout, recorder)


def test_the_registry_is_killed_between_two_nodes(rollout: _Rollout, recorder: Recorder) -> None:
    """One node has the module; the other cannot pull until the registry is back, and then does, without a word of anybody."""
    first, second = rollout.nodes
    set_label(rollout.client, second, LABEL, None)
    rollout.begin()
    wait_until(lambda: loaded_on(rollout.client, first), seconds=180, what="the module on the first node")
    rollout.registry.kill()
    try:
        set_label(rollout.client, second, LABEL, "true")
        wait_until(lambda: _cannot_pull(rollout.client), seconds=120, what="that the second node cannot pull")
        assert not loaded_on(rollout.client, second)
    finally:
        rollout.registry.start()
    _finish(rollout, recorder)


def _cannot_pull(client: Client) -> bool:
    reasons = {
        state["state"].get("waiting", {}).get("reason")
        for pod in worker_pods(client)
        for state in pod["status"].get("initContainerStatuses", ())
    }
    return bool(reasons & {"ErrImagePull", "ImagePullBackOff"})


def test_a_second_call_would_be_seen(rollout: _Rollout, recorder: Recorder) -> None:
    """The negative of the tests above: where loading fails once, that node calls modprobe twice."""
    recorder.refused = 1
    rollout.begin()
    wait_until(rollout.is_done, seconds=240, what="that both nodes have the module")
    assert len(recorder.begun) == 3
    assert sorted(recorder.loads) == _pods(rollout.nodes)
    rollout.end()
