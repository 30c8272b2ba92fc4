"""Tekton in a cluster: its controllers of the version that programs/tekton/go.mod pins, by its own manifests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from integration.kind.client import wait_until
from integration.kind.cluster import load_images
from integration.kind.debian import PROXY_PACKAGES, make_root
from integration.kind.make import make, sources_of
from integration.kind.node_image import import_image
from integration.kind.recipe import TEKTON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.kind.client import Client
    from integration.kind.cluster import Cluster

NAMESPACE, RESOLVERS = "tekton-pipelines", "tekton-pipelines-resolvers"
_VERSION = "v1.6.0"
_DEPLOYMENTS = (
    (NAMESPACE, "tekton-pipelines-controller"),
    (NAMESPACE, "tekton-pipelines-webhook"),
    (RESOLVERS, "tekton-pipelines-remote-resolvers"),
)
# Not "latest", which nodes would ask a registry for.
_SHELL = "kmodsmith-e2e-tekton-shell:1"
_KO = re.compile(r"ko://github\.com/tektoncd/pipeline/cmd/([a-z]+)")
_SHELL_OF_OTHERS = re.compile(r"cgr\.dev/chainguard/busybox@sha256:[0-9a-f]{64}")
# Events are for other systems, and autoscalers for larger clusters.
_LEFT_OUT = {"events.yaml", "webhook-hpa.yaml", "config-leader-election-events.yaml"}
_KINDS_FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "ConfigMap")


def install(cluster: Cluster, authority: Path) -> None:
    """Install it, and wait until its webhook answers; it trusts registries by an authority (PEM)."""
    assert cluster.world is not None
    images = []
    for name, program in make([TEKTON]).items():
        file = f"ko-app/{name}"
        files = {file: program, "etc/ssl/certs/ca-certificates.crt": authority}
        images.append(import_image(cluster.world, _image(name), files, f'ENTRYPOINT ["/{file}"]', "USER 65532"))
    base = make_root("extract", PROXY_PACKAGES)
    images.append(import_image(cluster.world, _SHELL, {}, "USER 0", "ENV PATH=/usr/bin:/bin", base=base, links=_LINKS))
    load_images(cluster, images)
    items = sorted(_manifests(), key=_order)
    for item in items:
        if item["kind"] in _KINDS_FIRST:
            cluster.client.apply(item)
    for item in items:
        if item["kind"] not in _KINDS_FIRST:
            cluster.client.apply(item)
    wait_until(lambda: _is_there(cluster.client), seconds=240, what="Tekton")
    cluster.client.forget_kinds()


_LINKS = {"bin/sh": "bash"}


def _image(name: str) -> str:
    return f"kmodsmith-e2e-tekton-{name}:1"


def _is_there(client: Client) -> bool:
    for namespace, name in _DEPLOYMENTS:
        status = client.get("apps/v1", "Deployment", name, namespace).get("status", {})
        if status.get("availableReplicas") != 1:
            return False
    hooks = client.get(
        "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "validation.webhook.pipeline.tekton.dev"
    )
    return all(hook["clientConfig"].get("caBundle") for hook in hooks["webhooks"])


def _order(item: dict[str, Any]) -> int:
    kind = item["kind"]
    return _KINDS_FIRST.index(kind) if kind in _KINDS_FIRST else len(_KINDS_FIRST) + (kind == "Deployment")


def _manifests() -> Iterator[dict[str, Any]]:
    """Yield its own manifests with our images."""
    place = sources_of(TEKTON) / "config"
    for file in sorted([*place.glob("*.yaml"), *place.glob("[0-9]*/*.yaml"), *place.glob("resolvers/*.yaml")]):
        if file.name in _LEFT_OUT:
            continue
        text = _KO.sub(lambda found: _image(found[1]), file.read_text())
        text = _SHELL_OF_OTHERS.sub(_SHELL, text).replace('"devel"', f'"{_VERSION}"')
        for item in yaml.safe_load_all(text):
            if item:
                if item["kind"] == "Deployment":
                    _adapt(item["spec"]["template"]["spec"])
                yield item


def _adapt(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    # Ours is one shared machine, and its image has no tini.
    container.pop("resources", None)
    if "command" in container:
        container["command"] = ["/ko-app/resolvers"]
        container.pop("args", None)
