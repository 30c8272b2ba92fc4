"""A node on a driver's own kernel, with Secure Boot: KMM loads there what kmodsmith published, and nothing else."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from builder.plan.project import open_project
from builder.signing.certificates import read_certificate
from integration.buildah.test_sign import make_certificate
from integration.conftest import copy_project
from integration.kind.client import wait_until
from integration.kind.cluster import failure_dir
from integration.kind.kmm_operator import WORKER, fill_authorities
from integration.kind.make import make, say
from integration.kind.node_image import make_node_image
from integration.kind.recipe import CLUSTER
from integration.kind.registry_in_cluster import Registry, trust_files
from integration.kind.rollout import KMM_API, apply_texts, loaded_on, set_label, worker_log, worker_pods
from integration.kind.vm_disk import make_disk
from integration.kind.vm_driver import NODE_LABEL, Vendor
from integration.kind.vm_kernel import NodeKernel, prepare_kernels
from integration.kind.vm_node import NODE, VmError, VmNode, choose_accelerator, in_cluster, node_files, plugged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import Machine
    from integration.kind.client import Client
    from integration.kind.cluster import Cluster

pytestmark = pytest.mark.kind
_PATIENCE_S = 900.0  # a guest in software emulation on a busy machine


@pytest.fixture(scope="session")
def here(cluster: Cluster) -> Cluster:
    """The cluster that was made here: a node of somebody else's is not ours to start."""
    if cluster.world is None:
        pytest.skip("virtual machines join clusters that are made here only")
    return cluster


@pytest.fixture(scope="module")
def project(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("kernels"))
    (folder / "versions.lock.yaml").write_text(lock_text)
    return folder


@pytest.fixture(scope="module")
def kernels(machine: Machine, project: Path) -> list[NodeKernel]:
    """Two kernels of the lock, the one that a node begins with and the next."""
    fetch = [*machine.prefix, sys.executable, "-m", "integration.kind.vm_kernel", str(project)]
    subprocess.run(fetch, check=True)
    return prepare_kernels(project)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the vendor's own signer, which nodes trust; its key is beside it."""
    return make_certificate(tmp_path_factory.mktemp("signer"), "vendor")[1]


@pytest.fixture(scope="module")
def vendor(machine: Machine, lock_text: str, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return Vendor(folder=tmp_path_factory.mktemp("vendor"), machine=machine, lock_text=lock_text, registry=registry)


@pytest.fixture(scope="module")
def node(
    request: pytest.FixtureRequest, here: Cluster, operator: Cluster, kernels: list[NodeKernel], project: Path, registry: Registry, certificate: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[VmNode]:  # fmt: skip
    """A node with the first kernel, in a cluster with KMM; its kernel trusts the vendor."""
    assert here.world is not None
    base = make_disk(here.world, make_node_image(here.world, make(CLUSTER)), [WORKER])
    folder = tmp_path_factory.mktemp("vm")
    disk = folder / "disk.img"
    subprocess.run(["cp", "--sparse=always", str(base), str(disk)], check=True)
    trust = trust_files(registry.host, registry.authority_file)
    with plugged(here) as (address, gateway):
        found = VmNode(
            cluster=here,
            folder=folder,
            disk=disk,
            kernel=kernels[0],
            certificates=[read_certificate(certificate)],
            files=node_files(here, address, gateway) | {f"node/{path}": data for path, data in trust.items()},
            pull_secret=registry.pull_secret,
            accelerator=choose_accelerator(open_project(project).cache_dir / "boot" / "acceleration.json"),
        )
        begun = time.monotonic()
        try:
            with in_cluster(found):
                found.wait_for_ready()
                say(f"a virtual machine was ready after {time.monotonic() - begun:.0f} s ({found.accelerator})")
                yield found
                say(f"the virtual machine took {found.peak_mib} MiB; its disk {disk.stat().st_blocks // 2048} MiB")
                if request.session.testsfailed:
                    found.describe(failure_dir())
        except VmError:
            found.describe(failure_dir())
            raise


def test_it_joins_with_its_kernel_secure_boot_and_lockdown(node: VmNode, kernels: list[NodeKernel]) -> None:
    info = node.cluster.client.get("v1", "Node", NODE)["status"]["nodeInfo"]
    assert info["kernelVersion"] == kernels[0].name
    assert "Secure boot enabled" in node.ask("dmesg")
    said = _say_in_pod(node, "lockdown", "cat /host/sys/kernel/security/lockdown; uname -r")
    assert said == f"none [integrity] confidentiality\n{kernels[0].name}\n"


def test_pods_on_it_reach_the_api_by_its_name(node: VmNode) -> None:
    # A new node's kube-proxy comes up after kubelet.
    script = (
        "until (exec 3<>/dev/tcp/kubernetes.default.svc.cluster.local/443); do sleep 1; done 2>/dev/null; echo reached"
    )
    assert _say_in_pod(node, "reaches", script) == "reached\n"


def test_the_published_module_is_loaded_by_kmm_and_passes_its_smoke_test(
    node: VmNode, vendor: Vendor, kernels: list[NodeKernel], certificate: Path
) -> None:
    """Built, signed, published and emitted by kmodsmith; applied as it is; loaded by KMM's worker."""
    files = vendor.release("drv", [kernels[0].name], certificate=certificate)
    begun, before = time.monotonic(), _times_loaded(node)
    with applied(node, files, "drv") as images:
        loaded = wait_for_module(node, "drv")
        say(f"from the Module to the loaded module: {time.monotonic() - begun:.0f} s")
        assert loaded["config"]["containerImage"] == images[kernels[0].name]
        assert loaded["config"]["kernelVersion"] == kernels[0].name
        test = (vendor.folder / "drv-1.0.0" / "project" / "kernel-module" / "smoke-test.sh").read_text()
        said = _say_in_pod(
            node, "smokes", f"ls -d /sys/module/ptemplate_*; cat /sys/module/ptemplate_char/taint\n{test}"
        )
        # Not of the kernel's own build, and signed by somebody whom it trusts: without that there were an E.
        assert said.startswith("/sys/module/ptemplate_char\n/sys/module/ptemplate_core\nO\nok ")
        assert "FAIL" not in said
        assert _times_loaded(node) == before + 1


@pytest.mark.parametrize(
    ("who", "words", "kernel_words"),
    [
        ("stranger", "Key was rejected by service", "Loading of module with unavailable key is rejected"),
        ("nobody", "Key was rejected by service", "Loading of unsigned module is rejected"),
    ],
    ids=["stranger", "nobody"],
)
def test_what_the_vendor_did_not_sign_is_refused_by_the_kernel_and_kmm_says_so(
    node: VmNode, vendor: Vendor, kernels: list[NodeKernel], who: str, words: str, kernel_words: str
) -> None:
    certificate = make_certificate(vendor.folder, who)[1] if who == "stranger" else None
    files = vendor.release(who, [kernels[0].name], certificate=certificate)
    with applied(node, files, who):
        wait_until(
            lambda: words in worker_log(node.cluster.client, who), seconds=_PATIENCE_S, what="the worker's complaint"
        )
        assert kernel_words in node.ask("dmesg")
        assert not _status(node, who)
        assert not _is_labelled(node, who)
        assert not _is_there(node)


def test_an_ordered_upgrade_swaps_the_module(
    node: VmNode, vendor: Vendor, kernels: list[NodeKernel], certificate: Path
) -> None:
    """Nothing changes on a node before its label asks for the new version."""
    client, label = node.cluster.client, "kmm.node.kubernetes.io/version-module.ordered.ptemplate"
    old, new = (
        vendor.release("ordered", [kernels[0].name], version=version, certificate=certificate, ordered=True)
        for version in ("1.0.0", "2.0.0")
    )
    with applied(node, old, "ordered") as old_images:
        try:
            set_label(client, NODE, label, "1.0.0")
            assert wait_for_module(node, "ordered")["config"]["containerImage"] == old_images[kernels[0].name]
            before = _times_loaded(node)
            new_images = apply(node, new)
            assert new_images != old_images
            time.sleep(5)  # nothing tells that nothing will happen
            (status,) = _status(node, "ordered")
            assert status["config"]["containerImage"] == old_images[kernels[0].name]
            set_label(client, NODE, label, "2.0.0")
            wait_until(
                lambda: _images(node, "ordered") == [new_images[kernels[0].name]],
                seconds=_PATIENCE_S,
                what="the module of the new version",
            )
            assert node.ask("cat /sys/module/ptemplate_char/version").strip() == "2.0.0"
            assert _times_loaded(node) == before + 1
            wait_until(
                lambda: _is_labelled(node, "ordered"), seconds=_PATIENCE_S, what="the label of a node that is ready"
            )
        finally:
            set_label(client, NODE, label, None)


def test_a_kubelet_killed_in_the_middle_of_a_load_has_it_loaded_once(
    node: VmNode, vendor: Vendor, kernels: list[NodeKernel], certificate: Path
) -> None:
    namespace = "killed-kubelet"
    files = vendor.release(namespace, [kernels[0].name], certificate=certificate)
    with applied(node, files, namespace):
        wait_until(lambda: worker_pods(node.cluster.client, namespace), seconds=_PATIENCE_S, what="a worker pod")
        before = _times_loaded(node)
        node.ask("kill -9 $(pidof kubelet)")
        wait_for_module(node, namespace)
        assert _is_there(node)
        assert _times_loaded(node) == before + 1
        assert len(_status(node, namespace)) == 1


# What the tests above ask for.


@contextlib.contextmanager
def applied(node: VmNode, files: Path, namespace: str) -> Iterator[dict[str, str]]:
    """Have what ``emit kmm`` wrote in the cluster, and a node that wants it; yields the image of each kernel."""
    client = node.cluster.client
    images = apply(node, files)
    set_label(client, NODE, NODE_LABEL, namespace)
    module = {
        "apiVersion": KMM_API,
        "kind": "Module",
        "metadata": {"name": "ptemplate", "namespace": namespace},
    }
    try:
        wait_until(lambda: fill_authorities(client, namespace), what="the ConfigMaps that OpenShift would fill")
        yield images
    finally:
        client.delete(module)
        set_label(client, NODE, NODE_LABEL, None)
        # Where a module is left, the next one's modprobe has nothing to do, and is content, whoever signed it.
        wait_for_none(node, namespace)


def apply(node: VmNode, files: Path) -> dict[str, str]:
    """Apply what ``emit kmm`` wrote; returns the image of each kernel."""
    texts = [file.read_text() for file in sorted(files.glob("[0-9]*.yaml"))]
    module = apply_texts(node.cluster.client, texts, node.pull_secret)
    mappings = module["spec"]["moduleLoader"]["container"]["kernelMappings"]
    return {mapping["literal"]: mapping["containerImage"] for mapping in mappings}


def wait_for_module(node: VmNode, namespace: str) -> dict[str, Any]:
    """Wait until KMM calls a module loaded, and the node ready for it; returns what it says of it."""
    wait_until(lambda: _status(node, namespace), seconds=_PATIENCE_S, what="a loaded module")
    wait_until(lambda: _is_labelled(node, namespace), seconds=_PATIENCE_S, what="the label of a node that is ready")
    (status,) = _status(node, namespace)
    return status


def wait_for_none(node: VmNode, namespace: str) -> None:
    """Wait until KMM has unloaded a module."""
    wait_until(lambda: not _status(node, namespace), seconds=_PATIENCE_S, what="the end of the module")
    wait_until(lambda: not _is_labelled(node, namespace), seconds=_PATIENCE_S, what="the end of the label")
    assert not _is_there(node)


def _status(node: VmNode, namespace: str) -> list[dict[str, Any]]:
    found = loaded_on(node.cluster.client, NODE)
    return [module for module in found if module["namespace"] == namespace and module.get("config")]


def _images(node: VmNode, namespace: str) -> list[str]:
    return [module["config"]["containerImage"] for module in _status(node, namespace)]


def _is_labelled(node: VmNode, namespace: str) -> bool:
    labels = node.cluster.client.get("v1", "Node", NODE)["metadata"]["labels"]
    return f"kmm.node.kubernetes.io/{namespace}.ptemplate.ready" in labels


def _is_there(node: VmNode) -> bool:
    return node.run("test -d /sys/module/ptemplate_char")[0] == 0


def _times_loaded(node: VmNode) -> int:
    """How often the driver has begun in this boot: it says so each time."""
    return len([line for line in node.ask("dmesg").splitlines() if "ptemplate_char: " in line and "devices of" in line])


def _say_in_pod(node: VmNode, name: str, script: str) -> str:
    """Return what a script says in a privileged pod on the node that sees its devices."""
    client = node.cluster.client
    image = next(
        container["image"]
        for pod in client.find("v1", "Pod", "kube-system")
        for container in pod["spec"]["containers"]
        if "kube-proxy" in container["image"]
    )
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["bash", "-c", script],
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "host", "mountPath": "/host"}, {"name": "dev", "mountPath": "/dev"}],
    }
    volumes = [{"name": "host", "hostPath": {"path": "/"}}, {"name": "dev", "hostPath": {"path": "/dev"}}]
    spec = {"nodeName": NODE, "restartPolicy": "Never", "containers": [container], "volumes": volumes}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    client.apply(pod)
    try:
        code = wait_until(partial(_exit_code, client, name), seconds=_PATIENCE_S, what=f"the end of the pod {name}")
        text = client.text(f"/api/v1/namespaces/default/pods/{name}/log")
        assert code == "0", text
        return text
    finally:
        client.delete(pod)


def _exit_code(client: Client, name: str) -> str:
    """Return how a pod's container has ended; what is called the pod's phase comes a minute later."""
    for status in client.get("v1", "Pod", name, "default")["status"].get("containerStatuses", ()):
        if ended := status["state"].get("terminated"):
            return str(ended["exitCode"])
    return ""
