"""A kind cluster in a world: made, described where a test failed, and gone with its world."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from integration.kind.client import Client, Refused
from integration.kind.make import Say, minutes, say
from integration.kind.world import PLACE, World, WorldError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAME = "kmodsmith"
CONTEXT = f"kind-{NAME}"
KUBECONFIG = PLACE / "kubeconfig"
_CONFIG = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "networking": {"ipFamily": "ipv4", "podSubnet": "10.244.0.0/16"},
    "nodes": [{"role": "control-plane"}, {"role": "worker"}],
}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that tests may use; ``kind`` is where kind's program is, nothing where the cluster is somebody else's."""

    kubeconfig: Path
    context: str
    client: Client
    world: World | None = None
    kind: Path | None = None

    @property
    def nodes(self) -> list[str]:
        return [node["metadata"]["name"] for node in self.client.find("v1", "Node")]

    @property
    def containers(self) -> list[str]:
        """Nodes that are containers of the world's engine, which can be entered; a machine of its own is none."""
        assert self.world is not None
        running = self.world.docker("ps", "--format={{.Names}}").split()
        return [node for node in self.nodes if node in running]


def create_cluster(world: World, programs: Mapping[str, Path], image: str, tell: Say = say) -> None:
    """Create the cluster of two nodes, and wait until it is ready; its address is one of the world.

    Raises:
        WorldError: it does not start; the message is kind's.
    """
    begun = time.monotonic()
    tell("starting the cluster")
    config = PLACE / "kind.yaml"
    config.write_text(yaml.safe_dump(_CONFIG))
    command = [
        "create",
        "cluster",
        f"--name={NAME}",
        f"--image={image}",
        f"--config={config}",
        f"--kubeconfig={KUBECONFIG}",
    ]
    try:
        world.run(programs["kind"], *command, "--wait=240s", "--retain")
    except WorldError:
        world.run(programs["kind"], "export", "logs", f"--name={NAME}", failure_dir(), check=False)
        tell(f"logs of the nodes are in {failure_dir()}")
        raise
    KUBECONFIG.chmod(0o600)
    tell(f"started the cluster in {minutes(time.monotonic() - begun)}")


@functools.cache
def failure_dir() -> Path:
    """Return the folder for what is to be known of a failure in this run."""
    given = os.environ.get("KMODSMITH_E2E_FAILURE")
    return Path(given) if given else Path(tempfile.mkdtemp(prefix="kmodsmith-e2e-"))


def load_images(cluster: Cluster, images: Iterable[str]) -> None:
    """Put images of the world's engine into the nodes."""
    assert cluster.world is not None
    assert cluster.kind is not None
    cluster.world.run(cluster.kind, "load", "docker-image", f"--name={NAME}", *images)


# What tells most about a failure; where a cluster does not know a kind, there is nothing of it.
_DESCRIBED = (
    ("v1", "Node"), ("v1", "Namespace"), ("v1", "Pod"), ("v1", "Service"), ("v1", "ConfigMap"), ("v1", "PersistentVolumeClaim"),
    ("apps/v1", "Deployment"), ("apps/v1", "DaemonSet"), ("kmm.sigs.x-k8s.io/v1beta1", "Module"),
    ("kmm.sigs.x-k8s.io/v1beta1", "NodeModulesConfig"),
)  # fmt: skip


def describe(cluster: Cluster, folder: Path) -> None:
    """Write what there is to know of a cluster into a folder: objects, events, logs of pods, journals of nodes."""
    (folder / "objects").mkdir(parents=True, exist_ok=True)
    for api_version, kind in _DESCRIBED:
        with contextlib.suppress(Refused, KeyError):
            items = cluster.client.find(api_version, kind)
            (folder / "objects" / f"{kind}.yaml").write_text(yaml.safe_dump_all(items, sort_keys=False))
    events = sorted(cluster.client.find("v1", "Event"), key=_when)
    (folder / "events.txt").write_text("".join(f"{_line(event)}\n" for event in events))
    (folder / "logs").mkdir(exist_ok=True)
    for pod in cluster.client.find("v1", "Pod"):
        _write_logs(cluster.client, pod, folder / "logs")
    if cluster.world is not None:
        for node in cluster.containers:
            journal = cluster.world.run("docker", "exec", node, "journalctl", "--no-pager", check=False)
            (folder / f"{node}.journal").write_text(journal.stdout)


def _when(event: Mapping[str, Any]) -> str:
    return event.get("lastTimestamp") or event.get("eventTime") or ""


def _line(event: Mapping[str, Any]) -> str:
    about = event["involvedObject"]
    subject = f"{about['kind']} {about.get('namespace', '')}/{about['name']}"
    return f"{_when(event)} {event.get('type')} {event.get('reason')} {subject}: {event.get('message', '')}"


def _write_logs(client: Client, pod: Mapping[str, Any], folder: Path) -> None:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    for container in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]:
        for previous in ("false", "true"):
            with contextlib.suppress(Refused):
                path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
                text = client.text(path, container=container["name"], previous=previous)
                suffix = ".previous" if previous == "true" else ""
                (folder / f"{namespace}.{name}.{container['name']}{suffix}.log").write_text(text)
