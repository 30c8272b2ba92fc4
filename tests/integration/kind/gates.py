"""Features of Kubernetes that are off in the release that tests run on: turned on for a while, in the whole cluster."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from integration.kind.client import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.kind.cluster import Cluster

_MANIFESTS = "/etc/kubernetes/manifests"
_KEPT = "/root/kept-manifests"
_KUBELET = "/var/lib/kubelet/config.yaml"
_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


@contextlib.contextmanager
def features(cluster: Cluster, *names: str, api: str = "") -> Iterator[None]:
    """Have features, and a version of an API, in control plane and kubelets until the end of the block."""
    nodes = cluster.containers  # asked for now: while the API server starts anew it tells nobody
    (control_plane,) = [name for name in nodes if "control-plane" in name]
    gates = ",".join(f"{name}=true" for name in names)
    # Kubelet takes every file of the folder for a pod, also one that is half written: they are made elsewhere and moved.
    change = [f"rm -rf {_KEPT} && cp -r {_MANIFESTS} {_KEPT} && cp -r {_KEPT} {_KEPT}.new && cd {_KEPT}.new"]
    for program in _PROGRAMS:
        words = [f"--feature-gates={gates}", *([f"--runtime-config={api}=true"] if api and "api" in program else [])]
        lines = "".join(rf"\n    - {word}" for word in words)
        change.append(f"sed -i 's#^    - {program}$#&{lines}#' {program}.yaml")
    change.append(f"mv -f {_KEPT}.new/* {_MANIFESTS}/ && rmdir {_KEPT}.new")
    lines = "".join(rf"  {name}: true\n" for name in names)
    kubelet = rf"cp {_KUBELET} {_KUBELET}.kept && printf 'featureGates:\n{lines}' >>{_KUBELET}"
    try:
        _on(cluster, control_plane, " && ".join(change))
        for node in nodes:
            _on(cluster, node, f"{kubelet} && systemctl restart kubelet")
        _wait(cluster, names, on=True)
        yield
    finally:
        _on(
            cluster,
            control_plane,
            f"cp -r {_KEPT} {_KEPT}.old && mv -f {_KEPT}.old/* {_MANIFESTS}/ && rmdir {_KEPT}.old",
        )
        for node in nodes:
            _on(cluster, node, f"if mv {_KUBELET}.kept {_KUBELET}; then systemctl restart kubelet; fi")
        _wait(cluster, names, on=False)


def _on(cluster: Cluster, node: str, script: str) -> None:
    assert cluster.world is not None
    cluster.world.docker("exec", node, "sh", "-ec", script)


def _wait(cluster: Cluster, names: tuple[str, ...], *, on: bool) -> None:
    """Wait until all programs of the control plane run with the features, and say that they are well."""
    wait_until(lambda: _has(cluster, names, on=on), seconds=180, what="an API server with other features")
    for program in _PROGRAMS:
        wait_until(functools.partial(_runs, cluster, program, names[0], on=on), seconds=180, what=program)
    wait_until(lambda: _nodes_are_ready(cluster), seconds=120, what="nodes that are ready")


def _has(cluster: Cluster, names: tuple[str, ...], *, on: bool) -> bool:
    text = cluster.client.text("/metrics")
    rows = [line for line in text.splitlines() if line.startswith("kubernetes_feature_enabled")]
    found = [line.rpartition(" ")[2] == "1" for name in names for line in rows if f'name="{name}"' in line]
    return len(found) == len(names) and all(one == on for one in found)


def _runs(cluster: Cluster, program: str, feature: str, *, on: bool) -> bool:
    """Tell whether a program's pod is of the file that is there now, and ready."""
    pods = cluster.client.find("v1", "Pod", "kube-system", labelSelector=f"component={program}")
    return len(pods) == 1 and all(
        any(feature in word for word in pod["spec"]["containers"][0]["command"]) == on
        and all(item["ready"] for item in pod["status"].get("containerStatuses", [{"ready": False}]))
        for pod in pods
    )


def _nodes_are_ready(cluster: Cluster) -> bool:
    nodes = cluster.client.find("v1", "Node")
    conditions = [{item["type"]: item["status"] for item in node["status"]["conditions"]} for node in nodes]
    return all(found["Ready"] == "True" for found in conditions)
