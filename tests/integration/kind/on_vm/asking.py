"""What tests ask of a node that is a virtual machine, in pods."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from integration.kind.client import wait_until
from integration.kind.vm_node import NODE, VmNode

if TYPE_CHECKING:
    from integration.kind.client import Client

PATIENCE_S = 900.0
"""For what a guest does in software emulation on a busy machine."""


def say_in_pod(node: VmNode, name: str, script: str) -> str:
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
        code = wait_until(partial(_exit_code, client, name), seconds=PATIENCE_S, what=f"the end of the pod {name}")
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
