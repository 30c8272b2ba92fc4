"""A driver in the cluster: images for the kernel that nodes run, files of ``emit kmm`` applied, and what KMM made of them."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import yaml
from fakes.kmm_facts import kmm_facts

from builder.emit.kmm.files import KmmFacts, emit_kmm
from builder.emit.kmm.version import Flavour, KmmVersion
from builder.kernel import parse_kernel_version
from builder.publish.result import PublishedCell
from integration.kind.client import wait_until
from integration.kind.debian import PROXY_PACKAGES, make_root
from integration.kind.kmm_operator import fill_authorities
from integration.kind.node_image import import_image
from integration.kind.registry_in_cluster import Registry, push

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from integration.kind.client import Client
    from integration.kind.cluster import Cluster

NAMESPACE = "drv"
LABEL = "feature.node.kubernetes.io/drv"
KMM_API = "kmm.sigs.x-k8s.io/v1beta1"
TOLERATIONS = ({"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},)
"""For drivers of the node that runs the control plane, too."""
_NMC = (KMM_API, "NodeModulesConfig")


def kernel_of_nodes() -> str:
    """Return the kernel that nodes of kind share with this machine."""
    return os.uname().release


def push_driver(cluster: Cluster, registry: Registry, folder: Path, tag: str, *more: str) -> str:
    """Put an image with a module for the nodes' kernel into the registry, and return its digest.

    Each tag is another image; ``more`` are further places of the module, below /opt/lib/modules.
    """
    assert cluster.world is not None
    module_file = folder / "drv.ko"
    module_file.write_bytes(f"no module, but {tag}: kernels of test machines take none".encode())
    places = (f"{kernel_of_nodes()}/extra/drv.ko", *more)
    files = {f"opt/lib/modules/{place}": module_file for place in places}
    root = make_root("extract", PROXY_PACKAGES)
    image = import_image(cluster.world, f"kmodsmith-e2e-drv:{tag}", files, base=root, links={"bin/sh": "bash"})
    archive = folder / f"drv-{tag}.tar"
    cluster.world.docker("save", f"--output={archive}", image)
    digest = push(registry, archive, f"org/drv:{tag}")
    archive.unlink()
    return digest


def make_facts(registry: Registry, digests: Mapping[str, str], *, version: str = "1.4.0", **settings: Any) -> KmmFacts:
    """Return what files are made of, for published cells by kernel.

    Kernels of test machines have names of their own: only the name is theirs.
    """
    cells = []
    for kernel, digest in digests.items():
        named = dataclasses.replace(parse_kernel_version("6.1.0-9-amd64"), raw=kernel)
        cells.append(PublishedCell(kernel=named, repository=f"{registry.host}/org/drv", digest=digest, tags=()))
    chosen = {"selector": {LABEL: "true"}, "pull_secret": "drv-pull", **settings}
    return dataclasses.replace(kmm_facts(chosen, firmware=(), version=version), cells=cells, releases=[])


def apply_files(client: Client, facts: KmmFacts, pull_secret: str) -> dict[str, Any]:
    """Apply what ``emit kmm`` makes of facts; returns the Module."""
    files = emit_kmm(facts, KmmVersion.V2_4, Flavour.OPENSHIFT)
    wanted = [text for name, text in files.items() if name.endswith(".yaml") and name != "imageset-config.yaml"]
    return apply_texts(client, wanted, pull_secret)


def apply_texts(client: Client, texts: Iterable[str], pull_secret: str) -> dict[str, Any]:
    """Apply files as they are, in their order; secrets get their values, as the file says. Returns the Module."""
    module: dict[str, Any] = {}
    for text in texts:
        for item in yaml.safe_load_all(text):
            if item["kind"] == "Secret":
                item["stringData"] = {".dockerconfigjson": pull_secret}
            applied = client.apply(item)
            module = applied if item["kind"] == "Module" else module
    return module


def remove(client: Client, module: dict[str, Any]) -> None:
    """Remove a Module, and wait until KMM has let go of it."""
    client.delete(module)
    wait_until(lambda: not client.find(KMM_API, "Module", NAMESPACE), seconds=180, what="the end of the Module")


def have_authorities(client: Client) -> None:
    wait_until(lambda: fill_authorities(client, NAMESPACE), what="the ConfigMaps that OpenShift would fill")


def wanted_on(client: Client, node: str) -> list[dict[str, Any]]:
    """Return what KMM wants to be loaded on a node."""
    found = [item for item in client.find(*_NMC) if item["metadata"]["name"] == node]
    return [module for item in found for module in item["spec"].get("modules") or ()]


def image_on(client: Client, node: str) -> str:
    """Return the image of which KMM wants the driver to be loaded on a node; empty where it wants none."""
    return next((str(module["config"]["containerImage"]) for module in wanted_on(client, node)), "")


def loaded_on(client: Client, node: str) -> list[dict[str, Any]]:
    """Return what KMM says is loaded on a node."""
    found = [item for item in client.find(*_NMC) if item["metadata"]["name"] == node]
    return [module for item in found for module in (item.get("status") or {}).get("modules") or ()]


def worker_pods(client: Client, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """Return the pods by which KMM loads and unloads."""
    pods = client.find("v1", "Pod", namespace)
    return [pod for pod in pods if pod["metadata"]["name"].startswith("kmm-worker-")]


def worker_log(client: Client, namespace: str = NAMESPACE) -> str:
    """Return what the only worker there is has said."""
    (pod,) = worker_pods(client, namespace)
    (container,) = pod["spec"]["containers"]
    path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/log"
    return client.text(path, container=container["name"])


def loader_status(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get(KMM_API, "Module", "drv", NAMESPACE)["status"]["moduleLoader"]
    return found


def set_label(client: Client, node: str, label: str, value: str | None) -> None:
    item = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}
    client.patch(item, {"metadata": {"labels": {label: value}}})
