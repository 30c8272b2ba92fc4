"""A cluster with one node and one driver's object, as files of ``kubectl get`` have it."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

from fakes.indexes import IMAGE, KERNEL, VENDOR
from fakes.kube_server import GROUP

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = "kmod-operator"
HEARD = "2026-11-20T10:00:00Z"
_MODULE = {
    "apiVersion": "kmm.sigs.x-k8s.io/v1beta1", "kind": "Module", "metadata": {"name": "ptemplate", "namespace": "drv"},
    "spec": {"selector": {"gpu": "yes"}, "moduleLoader": {"container": {"version": "0", "kernelMappings": []}}},
}  # fmt: skip
TEMPLATES = {
    "format": 1, "group": GROUP, "version": "v1alpha1", "kind": "KernelDriver", "plural": "kerneldrivers",
    "namespace": NAMESPACE, "keys": [VENDOR.pem],
    "drivers": {"ptemplate": {"namespace": "drv", "module": _MODULE, "plugin": [], "rules": [], "resource": ""}},
}  # fmt: skip
_READY = "kmm.node.kubernetes.io/drv.ptemplate.ready"


def make_saved(*, loaded: bool = True, conditions: Any = (), **spec: Any) -> list[dict[str, Any]]:
    """Return its objects; the index lies in a registry, and the last one that the operator believed in a ConfigMap."""
    labels = {"gpu": "yes", "kmm.node.kubernetes.io/version-module.drv.ptemplate": "1.0.0"}
    ready = {_READY: "", "kmm.node.kubernetes.io/drv.ptemplate.version.ready": "1.0.0"}
    heard = {"type": "Ready", "status": "True", "lastHeartbeatTime": HEARD}
    said = {"driver": {"name": "ptemplate", "version": "1.0.0"}, "index": {"image": "quay.test/v/p:index"}, **spec}
    image = {"image": IMAGE, "arch": "amd64", "proven": "secure", "signedBy": ["ab" * 32]}
    index = VENDOR.index(images={version: {KERNEL: image} for version in ("1.0.0", "2.0.0")})
    kept = base64.b64encode(gzip.compress(index)).decode()
    return [
        {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n0", "labels": labels | (ready if loaded else {})},
            "status": {"nodeInfo": {"kernelVersion": KERNEL, "architecture": "amd64"}, "conditions": [heard]},
        },
        {
            "apiVersion": f"{GROUP}/v1alpha1", "kind": "KernelDriver", "metadata": {"name": "ptemplate", "uid": "u1"},
            "spec": said, "status": {"conditions": list(conditions)},
        },
        {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "operator-templates", "namespace": NAMESPACE},
            "data": {"templates.json": json.dumps(TEMPLATES)},
        },
        {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "ptemplate-last-index", "namespace": NAMESPACE, "ownerReferences": [{"uid": "u1"}],
            },
            "binaryData": {"index.json.gz": kept},
        },
        definition("kmm.sigs.x-k8s.io", "v1beta1", "Module", "Namespaced"),
        definition(GROUP, "v1alpha1", "KernelDriver", "Cluster"),
    ]  # fmt: skip


def definition(group: str, version: str, kind: str, scope: str) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.{group}"},
        "spec": {
            "group": group, "scope": scope, "names": {"kind": kind, "plural": f"{kind.lower()}s"},
            "versions": [{"name": version, "served": True}],
        },
    }  # fmt: skip


def save(folder: Path, objects: list[dict[str, Any]]) -> Path:
    """Write a list of one kind into each file, as ``kubectl get KIND -o json`` does."""
    folder.mkdir(exist_ok=True)
    for kind in {item["kind"] for item in objects}:
        items = [item for item in objects if item["kind"] == kind]
        (folder / f"{kind}.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return folder
