"""The device plugin's real image in the cluster, as ``emit device-plugin`` writes it: pods get devices of their own.

The devices are a second sample's: character files that are made on the node, and a list of them in a folder that the
plugin sees, by which a test plugs, spoils and unplugs. KMM's label is set by hand here: kind's nodes take no modules.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from integration.conftest import ROOT, Machine, copy_project
from integration.kind.certificates import make_image_signer
from integration.kind.client import Client, wait_until
from integration.kind.rollout import set_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.kind.cluster import Cluster
    from integration.kind.registry_in_cluster import Registry

pytestmark = pytest.mark.kind
_NAMESPACE = "probes"
_RESOURCE = "drivers.example.com/probe"
_READY = f"kmm.node.kubernetes.io/{_NAMESPACE}.ptemplate.ready"
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
        return Description(nodes=(DeviceNode(path=f"/dev/{device.id}"),))
'''


class _Site:
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
        return int(status["allocatable"].get(_RESOURCE, 0))

    def wait_for(self, number: int) -> None:
        wait_until(lambda: self.free() == number, seconds=120, what=f"{number} devices")

    def start(self, name: str, script: str = "sleep 600") -> dict[str, Any]:
        spec = {
            "restartPolicy": "Never",
            "nodeName": self.node,
            "containers": [{
                "name": "main", "image": self.image, "command": ["sh", "-c", script],
                "resources": {"limits": {_RESOURCE: "1"}},
            }],
            "imagePullSecrets": [{"name": "pull"}],
            "terminationGracePeriodSeconds": 0,
        }  # fmt: skip
        metadata = {"name": name, "namespace": _NAMESPACE}
        return self.client.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def phase(self, name: str) -> str:
        return str(self.client.get("v1", "Pod", name, _NAMESPACE)["status"]["phase"])

    def log(self, name: str) -> str:
        return self.client.text(f"/api/v1/namespaces/{_NAMESPACE}/pods/{name}/log")

    def end(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        self.client.delete(pod)
        gone = lambda: all(item["metadata"]["name"] != name for item in self.client.find("v1", "Pod", _NAMESPACE))  # noqa: E731
        wait_until(gone, what=f"the end of {name}")

    def plugins(self) -> list[dict[str, Any]]:
        pods = self.client.find("v1", "Pod", _NAMESPACE)
        return [pod for pod in pods if pod["metadata"].get("labels", {}).get("app.kubernetes.io/name")]


@pytest.fixture(scope="module")
def emitted(
    machine: Machine, lock_text: str, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The device plugin with another class, built, published and written down by the real verbs."""
    folder = tmp_path_factory.mktemp("device-plugin")
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    shutil.copytree(ROOT / "operator", project / "operator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", project)
    (project / "operator" / "kmod_operator" / "probes.py").write_text(_CLASS)
    settings = yaml.safe_load((project / "versions.yaml").read_text())
    (component,) = yaml.safe_load((ROOT / "versions.yaml").read_text())["components"]
    settings["components"] = [component | {
        "arches": ["x86_64"],
        "image": f"{registry.host}/vendor/device-plugin",
        # Debian's containerd 1.6 does not know the Container Device Interface.
        "device_plugin": {
            "driver": "ptemplate", "resource": _RESOURCE, "injection": "nodes", "source": "kmod_operator.probes:Probes",
        },
    }]  # fmt: skip
    settings["drivers"][0]["kmm"] = {"namespace": _NAMESPACE, "pull_secret": "pull"}
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
    code, written = inside.tell(project, "emit", "device-plugin", "--flavour", "upstream")
    assert code == 0
    files: dict[str, str] = written["files"]
    return files


@pytest.fixture(scope="module")
def site(cluster: Cluster, registry: Registry, emitted: dict[str, str]) -> Iterator[_Site]:
    """What is emitted, applied as it is, on the worker."""
    (node,) = [name for name in cluster.containers if "control-plane" not in name]
    daemon = yaml.safe_load(emitted["device-plugin/20-daemonset.yaml"])
    image = daemon["spec"]["template"]["spec"]["containers"][0]["image"]
    found = _Site(cluster, node, image)
    for number in range(2):
        found.on_node("mknod", "-m", "666", f"/dev/probe-{number}", "c", "1", "5")
    found.on_node("mkdir", "-p", "/var/run/cdi")
    found.say(probe_0="well", probe_1="well")
    labels = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE, "labels": labels}}
    cluster.client.apply(namespace)
    secret = {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": registry.pull_secret}}
    cluster.client.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": _NAMESPACE}, **secret}
    )
    for content in emitted.values():
        for item in yaml.safe_load_all(content):
            cluster.client.apply(item)
    yield found
    set_label(cluster.client, node, _READY, None)
    cluster.client.delete(namespace)
    found.on_node("rm", "-f", "/dev/probe-0", "/dev/probe-1", _LIST)


def test_it_waits_for_the_driver_and_runs_without_privilege(site: _Site) -> None:
    assert not site.plugins(), "nowhere, as long as KMM has not loaded the driver"
    set_label(site.client, site.node, _READY, "")
    site.wait_for(2)
    (pod,) = site.plugins()
    wait_until(
        lambda: all(
            item["ready"]
            for item in site.client.get("v1", "Pod", pod["metadata"]["name"], _NAMESPACE)["status"]["containerStatuses"]
        ),
        what="a plugin that says that it is ready",
    )
    own = "$(dirname $(grep -l 'kmod_operato[r]' /proc/[0-9]*/cmdline | head -n 1))"
    status = site.on_node("sh", "-c", f"cat {own}/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
    assert (facts["NoNewPrivs"].strip(), facts["Seccomp"].strip()) == ("1", "2")


def test_each_pod_has_a_device_of_its_own(site: _Site) -> None:
    script = "ls /dev/probe-*; head -c 4 /dev/probe-* | wc -c; echo x >/dev/probe-* && sleep 600"
    pods = [site.start(f"user-{number}", script) for number in range(2)]
    try:
        for number in range(2):
            wait_until(lambda number=number: site.log(f"user-{number}").count("\n") >= 2, what="what it sees")  # type: ignore[misc]
        logs = [site.log(f"user-{number}").split() for number in range(2)]
        assert sorted(log[0] for log in logs) == ["/dev/probe-0", "/dev/probe-1"], "two pods, never the same device"
        assert [log[1] for log in logs] == ["4", "4"], "and it is read"
        third = site.start("user-2")
        wait_until(lambda: site.phase("user-2") == "Failed", what="that a third is refused")
        site.end(third)
        site.say(probe_0="well", probe_1="sick")
        site.wait_for(1)
        assert [site.phase(f"user-{number}") for number in range(2)] == ["Running", "Running"], "who has it keeps it"
        site.say(probe_0="well")
        site.wait_for(1)
        capacity = site.client.get("v1", "Node", site.node)["status"]["capacity"][_RESOURCE]
        assert capacity == "2", "a device that is gone and in use stays, and is unwell"
    finally:
        for pod in pods:
            site.end(pod)
    site.say(probe_0="well", probe_1="well")
    site.wait_for(2)


def test_it_leaves_with_the_driver(site: _Site) -> None:
    set_label(site.client, site.node, _READY, None)
    wait_until(lambda: not site.plugins(), what="the end of the plugin")
    site.wait_for(0)
