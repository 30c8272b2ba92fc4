"""A node on a driver's own kernel, with Secure Boot: KMM loads there what kmodsmith published, and nothing else."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from integration.buildah.test_sign import make_certificate
from integration.kind.client import wait_until
from integration.kind.kmm_operator import fill_authorities
from integration.kind.make import say
from integration.kind.on_vm.asking import PATIENCE_S, say_in_pod
from integration.kind.rollout import KMM_API, apply_texts, loaded_on, set_label, worker_log, worker_pods
from integration.kind.vm_driver import NODE_LABEL, Vendor
from integration.kind.vm_node import NODE, VmNode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.kind.vm_kernel import NodeKernel

pytestmark = pytest.mark.kind


def test_it_joins_with_its_kernel_secure_boot_and_lockdown(node: VmNode, kernels: list[NodeKernel]) -> None:
    info = node.cluster.client.get("v1", "Node", NODE)["status"]["nodeInfo"]
    assert info["kernelVersion"] == kernels[0].name
    assert "Secure boot enabled" in node.ask("dmesg")
    said = say_in_pod(node, "lockdown", "cat /host/sys/kernel/security/lockdown; uname -r")
    assert said == f"none [integrity] confidentiality\n{kernels[0].name}\n"


def test_pods_on_it_reach_the_api_by_its_name(node: VmNode) -> None:
    # A new node's kube-proxy comes up after kubelet.
    script = (
        "until (exec 3<>/dev/tcp/kubernetes.default.svc.cluster.local/443); do sleep 1; done 2>/dev/null; echo reached"
    )
    assert say_in_pod(node, "reaches", script) == "reached\n"


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
        said = say_in_pod(
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
            lambda: words in worker_log(node.cluster.client, who), seconds=PATIENCE_S, what="the worker's complaint"
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
                seconds=PATIENCE_S,
                what="the module of the new version",
            )
            assert node.ask("cat /sys/module/ptemplate_char/version").strip() == "2.0.0"
            assert _times_loaded(node) == before + 1
            wait_until(
                lambda: _is_labelled(node, "ordered"), seconds=PATIENCE_S, what="the label of a node that is ready"
            )
        finally:
            set_label(client, NODE, label, None)


def test_a_kubelet_killed_in_the_middle_of_a_load_has_it_loaded_once(
    node: VmNode, vendor: Vendor, kernels: list[NodeKernel], certificate: Path
) -> None:
    namespace = "killed-kubelet"
    files = vendor.release(namespace, [kernels[0].name], certificate=certificate)
    with applied(node, files, namespace):
        wait_until(lambda: worker_pods(node.cluster.client, namespace), seconds=PATIENCE_S, what="a worker pod")
        before = _times_loaded(node)
        node.ask("kill -9 $(pidof kubelet)")
        wait_for_module(node, namespace)
        assert _is_there(node)
        assert _times_loaded(node) == before + 1
        assert len(_status(node, namespace)) == 1


def test_power_taken_in_the_middle_of_a_load_is_a_load_after_it(
    node: VmNode, vendor: Vendor, kernels: list[NodeKernel], certificate: Path
) -> None:
    namespace = "power"
    files = vendor.release(namespace, [kernels[0].name], certificate=certificate)
    with applied(node, files, namespace):
        wait_until(lambda: worker_pods(node.cluster.client, namespace), seconds=PATIENCE_S, what="a worker pod")
        over = _boot_id(node)
        node.switch_off()
        begun = time.monotonic()
        node.start()
        node.wait_for_ready(after=over)
        say(f"ready again after its power was taken: {time.monotonic() - begun:.0f} s")
        wait_for_module(node, namespace)
        say(f"and loaded: {time.monotonic() - begun:.0f} s")
        assert _is_there(node)
        assert _times_loaded(node) == 1, "in this boot"
        assert len(_status(node, namespace)) == 1


def test_a_node_that_boots_the_next_kernel_finds_its_image_there(
    node: VmNode, vendor: Vendor, kernels: list[NodeKernel], certificate: Path
) -> None:
    """What an update of the cluster does to a node: the image was published and mapped before."""
    namespace = "update"
    files = vendor.release(namespace, [kernel.name for kernel in kernels], certificate=certificate)
    with applied(node, files, namespace) as images:
        assert len(set(images.values())) == len(kernels) == 2
        assert wait_for_module(node, namespace)["config"]["containerImage"] == images[kernels[0].name]
        over = _boot_id(node)
        node.ask("systemctl --no-block poweroff")
        node.wait_for_end()
        node.kernel = kernels[1]
        begun = time.monotonic()
        node.start()
        node.wait_for_ready(after=over)
        wait_until(
            lambda: _images(node, namespace) == [images[kernels[1].name]],
            seconds=PATIENCE_S,
            what="the module of the next kernel",
        )
        wait_until(lambda: _is_labelled(node, namespace), seconds=PATIENCE_S, what="the label of a node that is ready")
        say(f"from power to the module of the next kernel: {time.monotonic() - begun:.0f} s")
        assert node.ask("uname -r").strip() == kernels[1].name
        assert _is_there(node)
        assert _times_loaded(node) == 1


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
    wait_until(lambda: _status(node, namespace), seconds=PATIENCE_S, what="a loaded module")
    wait_until(lambda: _is_labelled(node, namespace), seconds=PATIENCE_S, what="the label of a node that is ready")
    (status,) = _status(node, namespace)
    return status


def wait_for_none(node: VmNode, namespace: str) -> None:
    """Wait until KMM has unloaded a module."""
    wait_until(lambda: not _status(node, namespace), seconds=PATIENCE_S, what="the end of the module")
    wait_until(lambda: not _is_labelled(node, namespace), seconds=PATIENCE_S, what="the end of the label")
    assert not _is_there(node)


def _status(node: VmNode, namespace: str) -> list[dict[str, Any]]:
    found = loaded_on(node.cluster.client, NODE)
    return [module for module in found if module["namespace"] == namespace and module.get("config")]


def _images(node: VmNode, namespace: str) -> list[str]:
    return [module["config"]["containerImage"] for module in _status(node, namespace)]


def _is_labelled(node: VmNode, namespace: str) -> bool:
    labels = node.cluster.client.get("v1", "Node", NODE)["metadata"]["labels"]
    return f"kmm.node.kubernetes.io/{namespace}.ptemplate.ready" in labels


def _boot_id(node: VmNode) -> str:
    return str(node.cluster.client.get("v1", "Node", NODE)["status"]["nodeInfo"]["bootID"])


def _is_there(node: VmNode) -> bool:
    return node.run("test -d /sys/module/ptemplate_char")[0] == 0


def _times_loaded(node: VmNode) -> int:
    """How often the driver has begun in this boot: it says so each time."""
    return len([line for line in node.ask("dmesg").splitlines() if "ptemplate_char: " in line and "devices of" in line])
