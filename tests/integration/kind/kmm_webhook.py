"""KMM's webhook as a Deployment in a cluster, by its own manifests; its certificate is of our authority.

OpenShift's service CA gives the Service a certificate and the configuration an authority, by annotations. Here the same
annotations are read, and what they ask for is put where they say.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import yaml

from integration.kind.certificates import Authority
from integration.kind.client import wait_until
from integration.kind.cluster import load_images
from integration.kind.kmm import source_dir
from integration.kind.kmm_operator import NAMESPACE
from integration.kind.make import make
from integration.kind.manifests import copy_sources, kustomize
from integration.kind.node_image import import_image
from integration.kind.recipe import KMM_WEBHOOK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.kind.client import Client
    from integration.kind.cluster import Cluster

_IMAGE = "kmodsmith-e2e-kmm-webhook:1"
_SERVICE_CA = "service.beta.openshift.io"
_KINDS = ("Service", "Deployment", "ValidatingWebhookConfiguration")
_FLAGS = ("--enable-module", "--enable-namespace")


@contextlib.contextmanager
def webhook_in_cluster(cluster: Cluster, folder: Path) -> Iterator[dict[str, Any]]:
    """Have KMM's webhook before the API server until the end of the block; returns its Deployment."""
    assert cluster.world is not None
    program = {"usr/local/bin/webhook-server": make([KMM_WEBHOOK])["webhook-server"]}
    import_image(cluster.world, _IMAGE, program, 'ENTRYPOINT ["/usr/local/bin/webhook-server"]', "USER 201")
    load_images(cluster, [_IMAGE])
    items = {item["kind"]: item for item in _manifests(folder)}
    authority = Authority(folder / "authority")
    with contextlib.ExitStack() as held:
        for item in (_certificate(items["Service"], authority), items["Service"], items["Deployment"]):
            held.callback(cluster.client.delete, cluster.client.apply(item))
        wait_until(lambda: _is_ready(cluster.client, items["Deployment"]), seconds=180, what="KMM's webhook")
        hooks = _with_authority(items["ValidatingWebhookConfiguration"], authority)
        # Last, and first to go: without its server it refuses every Module.
        held.callback(cluster.client.delete, cluster.client.apply(hooks))
        yield items["Deployment"]


def _manifests(folder: Path) -> list[dict[str, Any]]:
    layer = copy_sources(source_dir() / "config", folder / "config") / "e2e"
    layer.mkdir()
    # By this the Secret of the Service's annotation is called as the one that the Deployment mounts.
    names = "kustomizeconfig.yaml"
    shutil.copy(folder / "config" / "default" / names, layer)
    parts = ("rbac", "manager", "webhook", "webhook-server")
    wanted = {
        "namespace": NAMESPACE,
        "namePrefix": "kmm-operator-",
        "resources": [f"../{part}" for part in parts],
        "components": ["../webhook-cert"],
        "configurations": [names],
    }
    (layer / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    items = [item for item in kustomize(layer) if item["kind"] in _KINDS and "webhook" in item["metadata"]["name"]]
    for item in items:
        if item["kind"] == "Deployment":
            (container,) = item["spec"]["template"]["spec"]["containers"]
            container["image"] = _IMAGE
            container["args"] += _FLAGS
            container.pop("resources")  # half a core of a machine that others share
    return items


def _certificate(service: dict[str, Any], authority: Authority) -> dict[str, Any]:
    """Return the Secret that a Service's annotation asks for."""
    metadata = service["metadata"]
    pair = authority.issue("kmm-webhook", f"{metadata['name']}.{metadata['namespace']}.svc")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {
            "name": metadata["annotations"][f"{_SERVICE_CA}/serving-cert-secret-name"],
            "namespace": metadata["namespace"],
        },
        "stringData": {"tls.crt": pair.certificate.read_text(), "tls.key": pair.key.read_text()},
    }


def _with_authority(hooks: dict[str, Any], authority: Authority) -> dict[str, Any]:
    assert hooks["metadata"]["annotations"][f"{_SERVICE_CA}/inject-cabundle"] == "true"
    for hook in hooks["webhooks"]:
        hook["clientConfig"]["caBundle"] = base64.b64encode(authority.file.read_bytes()).decode()
    return hooks


def _is_ready(client: Client, deployment: dict[str, Any]) -> bool:
    name = deployment["metadata"]["name"]
    return bool(client.get("apps/v1", "Deployment", name, NAMESPACE)["status"].get("availableReplicas") == 1)
