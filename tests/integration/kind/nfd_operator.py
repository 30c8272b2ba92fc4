"""Node Feature Discovery in a cluster: master and worker of the version that programs/nfd/go.mod pins, by its manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from integration.kind.client import wait_until
from integration.kind.cluster import load_images
from integration.kind.make import make, sources_of
from integration.kind.manifests import copy_sources, kustomize
from integration.kind.node_image import import_image
from integration.kind.recipe import NFD

if TYPE_CHECKING:
    from pathlib import Path

    from integration.kind.client import Client
    from integration.kind.cluster import Cluster

NAMESPACE = "node-feature-discovery"
API = "nfd.k8s-sigs.io/v1alpha1"
_IMAGE = "kmodsmith-e2e-nfd:1"


def install(cluster: Cluster, folder: Path) -> None:
    """Install it, and wait until a worker has told what its node has."""
    assert cluster.world is not None
    programs = make([NFD])
    files = {f"usr/bin/{name}": program for name, program in programs.items()}
    import_image(cluster.world, _IMAGE, files, "ENV PATH=/usr/bin", "USER 65534")
    load_images(cluster, [_IMAGE])
    for item in _manifests(folder):
        cluster.client.apply(item)
    cluster.client.forget_kinds()
    wait_until(lambda: _is_there(cluster.client), seconds=240, what="Node Feature Discovery")


def crds() -> list[dict[str, Any]]:
    """Return its CustomResourceDefinitions, out of its module."""
    file = sources_of(NFD) / "deployment" / "base" / "nfd-crds" / "nfd-api-crds.yaml"
    return list(yaml.safe_load_all(file.read_text()))


def _is_there(client: Client) -> bool:
    master = client.get("apps/v1", "Deployment", "nfd-master", NAMESPACE)["status"]
    return master.get("availableReplicas") == 1 and bool(client.find(API, "NodeFeature", NAMESPACE))


def _manifests(folder: Path) -> list[dict[str, Any]]:
    """Return its own manifests with our image, without what removes objects of nodes that are gone: nobody built that."""
    place = copy_sources(sources_of(NFD) / "deployment", folder / "deployment")
    items = [item for item in kustomize(place / "overlays" / "default") if item["metadata"]["name"] != "nfd-gc"]
    for item in items:
        if item["kind"] in {"Deployment", "DaemonSet"}:
            (container,) = item["spec"]["template"]["spec"]["containers"]
            container["image"] = _IMAGE
            # Ours is one shared machine: a limit of a fifth of a core is a start of minutes.
            container.pop("resources", None)
    return items
