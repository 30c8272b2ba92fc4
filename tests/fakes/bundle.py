"""An operator's bundle that breaks no rule, as files; a test changes one thing of it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import yaml

from builder.certify.bundle_files import BundleFiles, make_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DIGEST = "sha256:" + "a" * 64
IMAGE = f"quay.io/mycompany/operator@{DIGEST}"
CSV_FILE = "manifests/demo.clusterserviceversion.yaml"
CRD_FILE = "manifests/drivers.crd.yaml"
ANNOTATIONS_FILE = "metadata/annotations.yaml"
_FEATURES = "features.operators.openshift.io"
_EXAMPLE = {"apiVersion": "drivers.example.com/v1", "kind": "Driver", "metadata": {"name": "demo"}}
_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "drivers.drivers.example.com"},
    "spec": {
        "group": "drivers.example.com",
        "scope": "Cluster",
        "names": {"kind": "Driver", "plural": "drivers"},
        "versions": [{"name": "v1", "served": True, "storage": True}],
    },
}
_CSV: dict[str, Any] = {
    "apiVersion": "operators.coreos.com/v1alpha1",
    "kind": "ClusterServiceVersion",
    "metadata": {
        "name": "demo.v1.0.0",
        "annotations": {
            "alm-examples": json.dumps([_EXAMPLE]),
            "capabilities": "Seamless Upgrades",
            "categories": "Storage, OpenShift Optional",
            **{
                f"{_FEATURES}/{name}": "true" if name == "disconnected" else "false"
                for name in (
                    "disconnected", "fips-compliant", "proxy-aware", "tls-profiles", "token-auth-aws",
                    "token-auth-azure", "token-auth-gcp",
                )
            },
        },
    },
    "spec": {
        "displayName": "Demo",
        "version": "1.0.0",
        "minKubeVersion": "1.27.0",
        "provider": {"name": "My Company"},
        "maintainers": [{"name": "Jo", "email": "jo@example.com"}],
        "links": [{"name": "Documentation", "url": "https://example.com"}],
        "icon": [{"base64data": "AAAA", "mediatype": "image/png"}],
        "installModes": [{"type": "AllNamespaces", "supported": True}],
        "customresourcedefinitions": {
            "owned": [{"name": "drivers.drivers.example.com", "version": "v1", "kind": "Driver"}]
        },
        "relatedImages": [{"name": "operator", "image": IMAGE}],
        "install": {
            "strategy": "deployment",
            "spec": {
                "deployments": [
                    {
                        "name": "operator",
                        "spec": {
                            "template": {
                                "spec": {
                                    "serviceAccountName": "operator",
                                    "containers": [
                                        {"name": "operator", "image": IMAGE, "env": [{"name": "RELATED_IMAGE_DRIVER", "value": IMAGE}]}
                                    ],
                                }
                            }
                        },
                    }
                ],
                "clusterPermissions": [{"serviceAccountName": "operator", "rules": [{"apiGroups": [""]}]}],
            },
        },
    },
}  # fmt: skip
_ANNOTATIONS = {
    "operators.operatorframework.io.bundle.mediatype.v1": "registry+v1",
    "operators.operatorframework.io.bundle.package.v1": "demo",
    "com.redhat.openshift.versions": "v4.14",
}


def bundle_files(
    change: Callable[[dict[str, Any]], object] | None = None,
    *,
    annotations: Mapping[str, Any] | None = None,
    more: Mapping[str, bytes | None] | None = None,
) -> dict[str, bytes]:
    """Return the files of a good bundle.

    Args:
        change: is given the ClusterServiceVersion.
        annotations: of the bundle, instead of the good ones' values.
        more: further files, or None for one that is to be missing.
    """
    csv = copy.deepcopy(_CSV)
    if change is not None:
        change(csv)
    files: dict[str, bytes | None] = {
        CSV_FILE: yaml.safe_dump(csv).encode(),
        CRD_FILE: yaml.safe_dump(_CRD).encode(),
        ANNOTATIONS_FILE: yaml.safe_dump({"annotations": {**_ANNOTATIONS, **(annotations or {})}}).encode(),
        **(more or {}),
    }
    return {name: content for name, content in files.items() if content is not None}


def make_good_bundle(change: Callable[[dict[str, Any]], object] | None = None, **options: Any) -> BundleFiles:
    return make_bundle(bundle_files(change, **options), [], [])


def put(path: str, value: object) -> Callable[[dict[str, Any]], object]:
    """Return a change that gives a dotted path a value; None takes away what is there."""

    def change(csv: dict[str, Any]) -> None:
        *folders, last = path.split(".")
        place: Any = csv
        for word in folders:
            place = place[int(word)] if word.isdecimal() else place[word]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


def annotate(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    """Return a change of an annotation of the ClusterServiceVersion; None takes it away."""

    def change(csv: dict[str, Any]) -> None:
        annotations = csv["metadata"]["annotations"]
        if value is None:
            del annotations[name]
        else:
            annotations[name] = value

    return change
