"""KMM's operator in a cluster: manager and worker of the commit that programs/kmm/go.mod pins, by its own manifests.

It is OpenShift's edition. What it expects of OpenShift is stood in for, and nothing of KMM itself is changed: two kinds
that it watches exist, empty; ConfigMaps that OpenShift fills with authorities are filled.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import yaml

from integration.kind.client import wait_until
from integration.kind.cluster import load_images
from integration.kind.debian import PROXY_PACKAGES, make_root
from integration.kind.kmm import pinned_crds, source_dir
from integration.kind.make import make
from integration.kind.manifests import copy_sources, kustomize
from integration.kind.node_image import import_image
from integration.kind.recipe import KMM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from integration.kind.client import Client
    from integration.kind.cluster import Cluster

NAMESPACE = "openshift-kmm"
MANAGER = "kmm-operator-controller"
_LAST = "Deployment"  # what it mounts is filled before
_MANAGER, WORKER = "kmodsmith-e2e-kmm-manager:1", "kmodsmith-e2e-kmm-worker:1"
_AUTHORITY_LABEL = "kmm.openshift.io/ca.type"
_AUTHORITY_KEYS = {"cluster": "ca-bundle.crt", "service": "service-ca.crt"}
# Kinds of OpenShift that the manager watches; without them it ends after two minutes.
_STOOD_IN = (("build.openshift.io", "Build", "builds"), ("image.openshift.io", "ImageStream", "imagestreams"))


def install(cluster: Cluster, folder: Path, authority: str) -> None:
    """Install the operator, and wait until its manager is available; it trusts registries by an authority."""
    assert cluster.world is not None
    programs = make([KMM])
    import_image(cluster.world, _MANAGER, {"usr/local/bin/manager": programs["manager"]}, "USER 201")
    load_images(cluster, [_MANAGER, make_worker_image(cluster, WORKER, {})])
    manifests = _manifests(folder, hashlib.sha256(authority.encode()).hexdigest())
    for item in [*map(_stand_in, _STOOD_IN), *pinned_crds(), *(item for item in manifests if item["kind"] != _LAST)]:
        cluster.client.apply(item)
    fill_authorities(cluster.client, NAMESPACE, authority)
    for item in manifests:
        if item["kind"] == _LAST:
            cluster.client.apply(item)
    wait_for_manager(cluster.client)


def make_worker_image(cluster: Cluster, name: str, more: Mapping[str, Path]) -> str:
    """Make an image of KMM's worker on Debian's kmod, with more files where they are wanted, and return its name."""
    assert cluster.world is not None
    entry = ('ENTRYPOINT ["/usr/local/bin/worker"]', "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    files = {"usr/local/bin/worker": make([KMM])["worker"], **more}
    base = make_root("extract", PROXY_PACKAGES)
    return import_image(cluster.world, name, files, *entry, base=base, links={"bin/sh": "bash"})


def use_worker(client: Client, image: str) -> None:
    """Have KMM load modules by another image, and wait until it does."""
    deployment = client.get("apps/v1", _LAST, MANAGER, NAMESPACE)
    containers = deployment["spec"]["template"]["spec"]["containers"]
    (entry,) = [entry for entry in containers[0]["env"] if entry["name"] == "RELATED_IMAGE_WORKER"]
    entry["value"] = image
    client.patch(deployment, {"spec": {"template": {"spec": {"containers": containers}}}})
    wait_for_manager(client)


def wait_for_manager(client: Client) -> None:
    """Wait until the manager that runs is the one that is wanted, and leads."""

    def is_there() -> bool:
        found = client.get("apps/v1", _LAST, MANAGER, NAMESPACE)
        status = found["status"]
        counts = {status.get(name) for name in ("replicas", "updatedReplicas", "availableReplicas")}
        return status.get("observedGeneration") == found["metadata"]["generation"] and counts == {1}

    wait_until(is_there, seconds=240, what="KMM's manager")


def fill_authorities(client: Client, namespace: str, authority: str = "") -> bool:
    """Fill KMM's ConfigMaps of a namespace, as OpenShift would; returns whether there are both."""
    found = [
        item
        for item in client.find("v1", "ConfigMap", namespace)
        if _AUTHORITY_LABEL in (item["metadata"].get("labels") or {})
    ]
    for item in found:
        key = _AUTHORITY_KEYS[item["metadata"]["labels"][_AUTHORITY_LABEL]]
        known = (item.get("data") or {}).get(key, "")
        if not known or (authority and known != authority):
            client.patch({"apiVersion": "v1", "kind": "ConfigMap", **item}, {"data": {key: authority or "\n"}})
    return len(found) >= len(_AUTHORITY_KEYS)


def _stand_in(kind: tuple[str, str, str]) -> dict[str, Any]:
    group, name, plural = kind
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": name, "plural": plural, "singular": name.lower()},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _manifests(folder: Path, authority: str) -> list[dict[str, Any]]:
    """Return KMM's own manifests with our images, for nodes that are called as kubeadm calls them."""
    layer = copy_sources(source_dir() / "config", folder / "config") / "e2e"
    layer.mkdir()
    wanted = {"namespace": NAMESPACE, "namePrefix": "kmm-operator-", "resources": ["../rbac", "../manager"]}
    (layer / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    items = kustomize(layer)
    for item in items:
        if item["kind"] == "Deployment":
            _adapt(item["spec"]["template"]["spec"])
            # It reads authorities once: another one is another pod.
            item["spec"]["template"]["metadata"].setdefault("annotations", {})["e2e/authority"] = authority
    return items


def _adapt(pod: dict[str, Any]) -> None:
    pod["nodeSelector"] = {"node-role.kubernetes.io/control-plane": ""}
    pod["tolerations"] = [{"operator": "Exists"}]
    (manager,) = pod["containers"]
    manager["image"] = _MANAGER
    images = {"RELATED_IMAGE_WORKER": WORKER, "RELATED_IMAGE_SIGN": "none:1", "RELATED_IMAGE_MUST_GATHER": "none:1"}
    manager["env"] = [
        {"name": entry["name"], "value": images[entry["name"]]} if entry["name"] in images else entry
        for entry in manager["env"]
    ]
