"""The operator on a node with the driver's own kernel: from a signed index to devices in pods, to the next version, and away."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from integration.kind.client import Refused, wait_until
from integration.kind.kmm_operator import fill_authorities
from integration.kind.make import make, say
from integration.kind.on_vm.asking import PATIENCE_S
from integration.kind.on_vm.operated import (
    API,
    KIND,
    NAME,
    OPERATOR,
    OPERATOR_NAMESPACE,
    RESOURCE,
    Operated,
    driver_object,
    make_operated,
)  # fmt: skip
from integration.kind.recipe import API_SERVER
from integration.kind.rollout import KMM_API, loaded_on, set_label
from integration.kind.vm_driver import NODE_LABEL
from integration.kind.vm_node import NODE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.kind.client import Client
    from integration.kind.vm_driver import Vendor
    from integration.kind.vm_kernel import NodeKernel
    from integration.kind.vm_node import VmNode

pytestmark = pytest.mark.kind
_DEVICES = 5  # what the sample driver makes where nobody says how many


@pytest.fixture(scope="module")
def operated(vendor: Vendor, kernels: list[NodeKernel], certificate: Path) -> Operated:
    return make_operated(vendor, [kernels[0].name], certificate)


@pytest.fixture(scope="module")
def installed(operated: Operated, node: VmNode) -> Iterator[Client]:
    """A cluster with what is emitted in it, until the end of the tests: the last of them looks whether it all can go."""
    client = node.cluster.client
    begun = time.monotonic()
    items = operated.install(client)
    try:
        wait_until(lambda: _available(client), seconds=PATIENCE_S, what="an operator that runs")
        say(f"the operator ran after {time.monotonic() - begun:.0f} s")
        yield client
    finally:
        set_label(client, NODE, NODE_LABEL, None)
        for item in reversed(items):
            client.delete(item)


def test_from_an_index_to_devices_in_a_pod(installed: Client, operated: Operated, node: VmNode) -> None:
    client, begun = installed, time.monotonic()
    set_label(client, NODE, NODE_LABEL, NAME)
    client.apply(driver_object())
    _wait_for_version(client, "1.0.0")
    say(f"from the object to devices: {time.monotonic() - begun:.0f} s")
    conditions = _conditions(client)
    assert conditions["IndexTrusted"] == ("True", "Verified")
    assert conditions["KernelsCovered"] == ("True", "AllCovered")
    # kind's clusters have no ClusterVersion: what comes next is unknown, and not safe.
    assert conditions["UpdateSafe"] == ("Unknown", "NotOpenShift")
    assert node.ask("cat /sys/module/ptemplate_char/version").strip() == "1.0.0"
    assert "Secure boot enabled" in node.ask("dmesg")
    (loaded,) = [module for module in loaded_on(client, NODE) if module["namespace"] == NAME]
    image = loaded["config"]["containerImage"]
    assert f"{operated.vendor.registry.host}/org/{NAME}@sha256:" in image
    assert _allocatable(client) == _DEVICES
    _run_user(client, operated)
    written = wait_until(lambda: _log(client, "user"), seconds=PATIENCE_S, what="what a pod with a device says")
    assert written.split() == ["mine", "1"], "it writes and reads its own device, and has no other"
    assert f"{NODE} has ptemplate 1.0.0, with {_DEVICES} {RESOURCE}." in _explain(node)


def test_an_upgrade_moves_the_pod_and_swaps_the_module(installed: Client, operated: Operated, node: VmNode) -> None:
    """The pod of the test before has a device: it is evicted before the module is unloaded."""
    client, begun = installed, time.monotonic()
    operated.release("2.0.0")
    operated.put_index(client)
    client.apply(driver_object("2.0.0"))
    _wait_for_version(client, "2.0.0")
    say(f"from a new version to its devices: {time.monotonic() - begun:.0f} s")
    assert node.ask("cat /sys/module/ptemplate_char/version").strip() == "2.0.0"
    assert not client.find("v1", "Pod", NAME, fieldSelector="metadata.name=user")
    assert _allocatable(client) == _DEVICES
    spec = client.get("v1", "Node", NODE)["spec"]
    assert "unschedulable" not in spec, "what it cordoned it gives back"


def test_removal_takes_all_of_it_away(installed: Client, node: VmNode) -> None:
    client, begun = installed, time.monotonic()
    client.delete(driver_object())
    wait_until(lambda: not client.find(API, KIND), seconds=PATIENCE_S, what="the end of the object")
    say(f"from its deletion to the end of the object: {time.monotonic() - begun:.0f} s")
    assert node.run("test -d /sys/module/ptemplate_char")[0] != 0
    assert not client.find(KMM_API, "Module", NAME)
    assert not client.find("apps/v1", "DaemonSet", NAME)
    metadata = client.get("v1", "Node", NODE)["metadata"]
    kept = [key for key in (*metadata["labels"], *metadata.get("annotations", {})) if "ptemplate" in key]
    assert kept == [NODE_LABEL], "the label that the administrator set, and none that the operator did"


# What the tests above ask for.


def _wait_for_version(client: Client, version: str) -> None:
    def is_there() -> bool:
        fill_authorities(client, NAME)
        status = client.get(API, KIND, "ptemplate").get("status", {})
        return (
            status.get("observedGeneration") == client.get(API, KIND, "ptemplate")["metadata"]["generation"]
            and _conditions(client).get("Ready", ("", ""))[0] == "True"
            and [module["config"]["containerImage"] for module in loaded_on(client, NODE) if module.get("config")] != []
        )

    try:
        wait_until(is_there, seconds=3 * PATIENCE_S, what=f"version {version} on the node, with its devices")
    except AssertionError as error:
        raise AssertionError(f"{error}: {client.get(API, KIND, 'ptemplate').get('status')}") from None


def _conditions(client: Client) -> dict[str, tuple[str, str]]:
    status = client.get(API, KIND, "ptemplate").get("status", {})
    return {one["type"]: (one["status"], one["reason"]) for one in status.get("conditions", ())}


def _available(client: Client) -> bool:
    status = client.get("apps/v1", "Deployment", OPERATOR, OPERATOR_NAMESPACE).get("status", {})
    return bool(status.get("availableReplicas", 0))


def _allocatable(client: Client) -> int:
    return int(client.get("v1", "Node", NODE)["status"]["allocatable"].get(RESOURCE, 0))


def _run_user(client: Client, operated: Operated) -> None:
    """Start a pod that uses a device until somebody ends it."""
    (image,) = {
        container["image"]
        for item in client.find("apps/v1", "DaemonSet", NAME)
        for container in item["spec"]["template"]["spec"]["containers"]
    }
    script = 'set -- /dev/ptemplate-*; printf mine >"$1"; echo "$(cat "$1") $#"; exec sleep 3600'
    container = {
        "name": "main", "image": image, "command": ["sh", "-c", script],
        "resources": {"limits": {RESOURCE: "1"}}, "securityContext": {"runAsUser": 0},
    }  # fmt: skip
    spec: dict[str, Any] = {
        "containers": [container], "restartPolicy": "Never", "imagePullSecrets": [{"name": "pull"}],
        "terminationGracePeriodSeconds": 0,
    }  # fmt: skip
    client.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user", "namespace": NAME}, "spec": spec})


def _log(client: Client, name: str) -> str:
    try:
        return client.text(f"/api/v1/namespaces/{NAME}/pods/{name}/log")
    except Refused:  # it has not begun
        return ""


def _explain(node: VmNode) -> str:
    """Return what the operator's own program says of the node, as its page has people ask."""
    command = [str(make([API_SERVER])["kubectl"]), "--kubeconfig", str(node.cluster.kubeconfig)]
    command += [
        "--context",
        node.cluster.context,
        "--namespace",
        OPERATOR_NAMESPACE,
        "exec",
        f"deploy/{OPERATOR}",
        "--",
    ]
    command += ["python3.11", "-m", "kmod_operator", "explain", NODE]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
