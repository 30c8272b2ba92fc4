"""The device plugin's real image in the cluster, as ``emit device-plugin`` writes it, and devices that a test invents.

The devices are a second sample's: character files that are made on the node, and a list of them in a folder that the
plugin sees, by which a test plugs, spoils and unplugs. KMM's label is set by hand here: kind's nodes take no modules.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import yaml

from integration.conftest import ROOT, Machine, copy_project
from integration.kind.certificates import make_image_signer
from integration.kind.client import Client, Refused, wait_until
from integration.kind.rollout import set_label

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.kind.cluster import Cluster
    from integration.kind.registry_in_cluster import Registry

NAMESPACE = "probes"
RESOURCE = "drivers.example.com/probe"
DRIVER = "probe.drivers.example.com"
READY = f"kmm.node.kubernetes.io/{NAMESPACE}.ptemplate.ready"
DEVICES = 64
_TICKS = 100  # of /proc, on every machine of today
_LIST = "/var/run/cdi/probes"
_CLASS = '''
"""What a test says there is: lines of a device and how it is."""

from pathlib import Path

from kmod_operator.devices.model import Description, Device, DeviceNode, Health


class Probes:
    def __init__(self, root: Path) -> None:
        self._list = root / "var/run/cdi/probes"

    def _read(self) -> dict[str, str]:
        rows = (line.split() for line in self._list.read_text().splitlines())
        return {name: how for name, how in rows}

    def discover(self) -> list[Device]:
        return [Device(id=name) for name in self._read()]

    def check(self, device: Device) -> Health:
        how = self._read().get(device.id, "gone")
        return Health(well=how == "well", reason="" if how == "well" else f"it is {how}")

    def describe(self, device: Device) -> Description:
        number = int(device.id.rpartition("-")[2])
        return Description(nodes=(DeviceNode(path=f"/dev/{device.id}"),), properties={"number": number})
'''


@dataclass(frozen=True, kw_only=True)
class PublishedPlugin:
    """A project whose device plugin is built and published by the real verbs; which mode it has is said later."""

    project: Path
    machine: Machine

    def emit(self, **said: Any) -> dict[str, str]:
        """Return what ``emit device-plugin`` writes where versions.yaml says so."""
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        plugin = {"driver": "ptemplate", "resource": RESOURCE, "source": "kmod_operator.probes:Probes", **said}
        settings["components"][0]["device_plugin"] = plugin
        file.write_text(yaml.safe_dump(settings))
        code, written = self.machine.tell(self.project, "emit", "device-plugin", "--flavour", "upstream")
        assert code == 0
        files: dict[str, str] = written["files"]
        return files


def publish_plugin(machine: Machine, lock_text: str, registry: Registry, folder: Path) -> PublishedPlugin:
    """Build the device plugin with another class, and publish it into the cluster's registry."""
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    shutil.copytree(ROOT / "operator", project / "operator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", project)
    (project / "operator" / "kmod_operator" / "probes.py").write_text(_CLASS)
    settings = yaml.safe_load((project / "versions.yaml").read_text())
    components = yaml.safe_load((ROOT / "versions.yaml").read_text())["components"]
    (component,) = [item for item in components if item.get("device_plugin")]
    image = f"{registry.host}/vendor/device-plugin"
    settings["components"] = [component | {"arches": ["x86_64"], "image": image}]
    settings["drivers"][0]["kmm"] = {"namespace": NAMESPACE, "pull_secret": "pull"}
    settings["registry"] = {"auth_files": ["auth.json"]}
    settings["publish"] = {"signer": make_image_signer(folder / "keys")}
    (project / "versions.yaml").write_text(yaml.safe_dump(settings))
    shutil.copy(registry.auth_file, project / "auth.json")
    done = machine.builder(project, "discover", "--source", "debian")
    assert done.returncode == 0, done.stderr
    code, results = machine.build(project, "--component", "device-plugin")
    assert code == 0, results
    assert results["components"][0]["self_test"]["outcome"] == "passed"
    inside = replace(machine, prefix=()).with_environment({"SSL_CERT_FILE": str(registry.authority_file)})
    refused = inside.builder(project, "emit", "device-plugin", "--json")
    assert refused.returncode != 0
    assert "is not published" in refused.stderr
    code, published = inside.tell(project, "publish", "--component", "device-plugin")
    assert code == 0, published
    return PublishedPlugin(project=project, machine=inside)


class Site:
    """The plugin on a node, and the image that pods are made of, too."""

    def __init__(self, cluster: Cluster, node: str, image: str) -> None:
        self.cluster, self.node, self.image = cluster, node, image
        self.client: Client = cluster.client

    def on_node(self, *words: str) -> str:
        assert self.cluster.world is not None
        return self.cluster.world.docker("exec", self.node, *words)

    def say(self, **devices: str) -> None:
        """Say which devices there are, and how they are."""
        lines = "".join(f"{name.replace('_', '-')} {how}\n" for name, how in devices.items())
        self.on_node("sh", "-c", f"printf '{lines}' >{_LIST}.new && mv {_LIST}.new {_LIST}")

    def free(self) -> int:
        """Return how many devices kubelet would give away."""
        status = self.client.get("v1", "Node", self.node)["status"]
        return int(status["allocatable"].get(RESOURCE, 0))

    def count(self, text: str | None) -> None:
        """Have a count of devices in the node's status, as kubelet leaves one of 0 when a device plugin has gone."""
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node}}
        self.client.patch(node, {"status": {part: {RESOURCE: text} for part in ("capacity", "allocatable")}}, "status")

    def wait_for(self, number: int) -> None:
        wait_until(lambda: self.free() == number, seconds=120, what=f"{number} devices")

    def start(self, name: str, script: str = "sleep 600", **more: Any) -> dict[str, Any]:
        """Start a pod on the node with one device by kubelet's count, or with what ``more`` says of pod and container."""
        of_container = more.pop("container", {"resources": {"limits": {RESOURCE: "1"}}})
        spec = {
            "restartPolicy": "Never",
            "nodeSelector": {"kubernetes.io/hostname": self.node},
            "containers": [{"name": "main", "image": self.image, "command": ["sh", "-c", script], **of_container}],
            "imagePullSecrets": [{"name": "pull"}],
            "terminationGracePeriodSeconds": 0,
            **more,
        }
        metadata = {"name": name, "namespace": NAMESPACE}
        return self.client.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def phase(self, name: str) -> str:
        return str(self.client.get("v1", "Pod", name, NAMESPACE)["status"]["phase"])

    def log(self, name: str) -> str:
        return self.client.text(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/log")

    def lines(self, name: str, number: int) -> list[str]:
        """Return what a pod said, when it has said so many lines."""
        try:
            wait_until(lambda: self.log(name).count("\n") >= number, what=f"what {name} sees")
        except AssertionError as error:
            status = self.client.get("v1", "Pod", name, NAMESPACE)["status"]
            raise AssertionError(f"{error}; {self.log(name)!r}; {status}") from None
        return self.log(name).split()

    def end(self, *pods: dict[str, Any]) -> None:
        for pod in pods:
            with contextlib.suppress(Refused):
                self.client.delete(pod)
        names = {pod["metadata"]["name"] for pod in pods}
        gone = lambda: not names & {item["metadata"]["name"] for item in self.client.find("v1", "Pod", NAMESPACE)}  # noqa: E731
        wait_until(gone, what=f"the end of {', '.join(names)}")

    def plugins(self) -> list[dict[str, Any]]:
        pods = self.client.find("v1", "Pod", NAMESPACE)
        return [pod for pod in pods if pod["metadata"].get("labels", {}).get("app.kubernetes.io/name")]

    def wait_until_ready(self) -> dict[str, Any]:
        """Return the pod of the plugin, when it says that it is ready."""

        def ready() -> dict[str, Any] | None:
            found = [pod for pod in self.plugins() if "deletionTimestamp" not in pod["metadata"]]
            wells = [pod for pod in found if any(item["ready"] for item in pod["status"].get("containerStatuses", ()))]
            return wells[0] if len(found) == len(wells) == 1 else None

        pod = wait_until(ready, seconds=120, what="a plugin that says that it is ready")
        assert pod is not None
        return pod

    def process(self) -> dict[str, str]:
        """Return what the node's kernel says of the plugin's process."""
        own = "$(dirname $(grep -l 'kmod_operato[r]' /proc/[0-9]*/cmdline | head -n 1))"
        status = self.on_node("sh", "-c", f"cat {own}/status")
        return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    def memory_mib(self) -> tuple[float, float, float]:
        """Return what its process has, the most that it had, and the most of its control group: what the limit is about."""
        facts = self.process()
        now, most = (int(re.sub(r"\D", "", facts[name])) / 1024 for name in ("VmRSS", "VmHWM"))
        pid = facts["Pid"].strip()
        groups = dict(line.split(":", 2)[1:] for line in self.on_node("cat", f"/proc/{pid}/cgroup").splitlines())
        places = (
            f"/sys/fs/cgroup/memory{groups.get('memory', '')}/memory.max_usage_in_bytes",
            f"/sys/fs/cgroup{groups.get('', '')}/memory.peak",
        )
        text = self.on_node("sh", "-c", f"cat {places[0]} 2>/dev/null || cat {places[1]}")
        return now, most, int(text) / 1024**2

    def starts_in_s(self, words: str) -> float:
        """Return how long the plugin took from the start of its process until its log has these words."""
        pid = self.process()["Pid"].strip()
        now, up, stat = self.on_node("sh", "-c", f"date +%s.%N; cat /proc/uptime /proc/{pid}/stat").splitlines()
        begun = float(now) - float(up.split()[0]) + int(stat.rpartition(")")[2].split()[19]) / _TICKS
        (pod,) = self.plugins()
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/log"
        (line, *_) = [line for line in self.client.text(path, timestamps="true").splitlines() if words in line]
        whole, _, part = line.split()[0].removesuffix("Z").partition(".")
        return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{part}") - begun


@contextlib.contextmanager
def serve_site(cluster: Cluster, registry: Registry, emitted: dict[str, str]) -> Iterator[Site]:
    """Have what is emitted in the cluster, applied as it is, until the end of the block; KMM's label is not set yet."""
    (node,) = [name for name in cluster.containers if "control-plane" not in name]
    daemon = yaml.safe_load(emitted["device-plugin/20-daemonset.yaml"])
    image = daemon["spec"]["template"]["spec"]["containers"][0]["image"]
    site = Site(cluster, node, image)
    files = [f"/dev/probe-{number}" for number in range(DEVICES)]
    site.on_node("sh", "-c", f"for file in {' '.join(files)}; do mknod -m 666 $file c 1 5; done; mkdir -p /var/run/cdi")
    site.say(probe_0="well", probe_1="well")
    labels = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    wait_until(lambda: _is_gone(cluster.client), seconds=120, what="the end of the namespace of an earlier test")
    cluster.client.apply(namespace)
    secret = {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": registry.pull_secret}}
    cluster.client.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": NAMESPACE}, **secret}
    )
    applied = [cluster.client.apply(item) for content in emitted.values() for item in yaml.safe_load_all(content)]
    try:
        yield site
    finally:
        set_label(cluster.client, node, READY, None)
        for item in applied:
            if "namespace" not in item["metadata"]:
                cluster.client.delete(item)
        cluster.client.delete(namespace)
        wait_until(lambda: _is_gone(cluster.client), seconds=120, what="the end of the namespace")
        site.on_node("rm", "-f", _LIST, *files)


def _is_gone(client: Client) -> bool:
    return NAMESPACE not in {item["metadata"]["name"] for item in client.find("v1", "Namespace")}
