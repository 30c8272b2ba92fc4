"""The operator for Operator Lifecycle Manager: a bundle (registry+v1), and a catalog that offers it. Pure.

A bundle may hold no namespaces, roles of other namespaces and security context constraints: what drivers' namespaces
have is beside it, in a file that an administrator applies first. It asks for no other operator: OLM v1 refuses that,
and the operator says itself what the cluster lacks (condition PrerequisitesMet).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from builder.emit.operator.crd import API_VERSION, MIN_KUBE
from builder.emit.operator.plain import DRIVERS_FILE, emit_plain
from builder.writing import emit_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.emit.operator.material import OperatorFacts
    from builder.emit.operator.model import OperatorObjects

_OLDEST_OPENSHIFT = "4.14"
_FEATURES = {
    # All images are named by digest, and in relatedImages; nothing else is read from outside.
    "disconnected": True,
    "fips-compliant": False,
    "proxy-aware": False,
    "tls-profiles": False,
    "token-auth-aws": False,
    "token-auth-azure": False,
    "token-auth-gcp": False,
}
_MODES = {"OwnNamespace": False, "SingleNamespace": False, "MultiNamespace": False, "AllNamespaces": True}
_FOLDERS = {"manifests": "manifests/", "metadata": "metadata/"}
_KEYWORDS = ["kernel", "driver", "kmm"]


def emit_bundle(facts: OperatorFacts, objects: OperatorObjects) -> dict[str, str]:
    """Return files of the bundle by name.

    Raises:
        UsageError: versions.yaml lacks what a bundle must say.
    """
    package = facts.settings.name
    files = {
        f"manifests/{package}.clusterserviceversion.yaml": emit_yaml(make_csv(facts, objects)),
        f"manifests/{objects.crd['metadata']['name']}.crd.yaml": emit_yaml(objects.crd),
    }
    for item in objects.workload:
        if item["kind"] != "Deployment":
            name = f"manifests/{item['metadata']['name']}.{item['kind'].lower()}.yaml"
            files[name] = emit_yaml(_without_namespace(item))
    annotations = _annotations(facts)
    files["metadata/annotations.yaml"] = emit_yaml({"annotations": annotations})
    files["bundle.Dockerfile"] = _dockerfile(
        annotations, "".join(f"COPY {name} /{name}\n" for name in _FOLDERS.values())
    )
    files[DRIVERS_FILE] = emit_plain(objects)[DRIVERS_FILE]
    return files


def emit_catalog(facts: OperatorFacts, objects: OperatorObjects) -> dict[str, str]:
    """Return a file-based catalog that offers the bundle; nothing while its image is not known."""
    if not facts.bundle:
        return {}
    package, channel = facts.settings.name, facts.settings.channel
    name = f"{package}.v{facts.version}"
    csv = make_csv(facts, objects)
    gvk = {"group": facts.settings.group, "kind": facts.settings.kind, "version": API_VERSION}
    properties = [
        {"type": "olm.package", "value": {"packageName": package, "version": facts.version}},
        {"type": "olm.gvk", "value": gvk},
        {"type": "olm.csv.metadata", "value": _metadata(csv)},
    ]
    images = [{"name": "", "image": facts.bundle}, *csv["spec"]["relatedImages"]]
    documents: Sequence[dict[str, Any]] = [
        {"schema": "olm.package", "name": package, "defaultChannel": channel, "description": _description(facts)},
        {
            "schema": "olm.channel",
            "package": package,
            "name": channel,
            "entries": [{"name": name, "skipRange": f"<{facts.version}"}],
        },
        {
            "schema": "olm.bundle",
            "package": package,
            "name": name,
            "image": facts.bundle,
            "properties": properties,
            "relatedImages": images,
        },
    ]
    label = {"operators.operatorframework.io.index.configs.v1": "/configs"}
    return {
        f"{package}/catalog.yaml": emit_yaml(*documents),
        "catalog.Dockerfile": _dockerfile(label, f"COPY {package} /configs/{package}\n"),
    }


def make_csv(facts: OperatorFacts, objects: OperatorObjects) -> dict[str, Any]:
    """Return the ClusterServiceVersion."""
    settings = facts.settings
    deployment = objects.deployment
    account = objects.account["metadata"]["name"]
    install = {
        "strategy": "deployment",
        "spec": {
            "clusterPermissions": [{"serviceAccountName": account, "rules": objects.cluster_rules}],
            "permissions": [{"serviceAccountName": account, "rules": objects.own_rules}],
            "deployments": [
                {
                    "name": deployment["metadata"]["name"],
                    "label": deployment["metadata"]["labels"],
                    "spec": deployment["spec"],
                }
            ],
        },
    }
    owned = {
        "name": objects.crd["metadata"]["name"],
        "kind": settings.kind,
        "version": API_VERSION,
        "displayName": settings.kind,
        "description": "A driver that is on nodes: which one, of which version, and how it gets there.",
    }
    spec = {
        "displayName": facts.display_name,
        "description": _description(facts),
        "version": facts.version,
        "minKubeVersion": MIN_KUBE,
        "maturity": "alpha",
        "keywords": [*_KEYWORDS, *(item.driver.name for item in facts.drivers)],
        "provider": {"name": facts.component.vendor},
        "maintainers": [facts.maintainer],
        "links": [{"name": "Documentation", "url": settings.documentation}],
        "installModes": [{"type": name, "supported": supported} for name, supported in _MODES.items()],
        "customresourcedefinitions": {"owned": [owned]},
        "install": install,
        "relatedImages": [{"name": name, "image": image} for name, image in facts.images.items()],
    }
    return {
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": _csv_metadata(facts, objects),
        "spec": spec,
    }


def _csv_metadata(facts: OperatorFacts, objects: OperatorObjects) -> dict[str, Any]:
    annotations = {
        "alm-examples": json.dumps(objects.example, indent=2),
        "capabilities": "Seamless Upgrades",
        "categories": "OpenShift Optional",
        "containerImage": facts.image,
        "description": facts.component.summary,
        "olm.skipRange": f"<{facts.version}",
        "operatorframework.io/suggested-namespace": facts.settings.namespace_name,
        "operators.operatorframework.io/builder": "kmodsmith",
        "support": facts.component.vendor,
    }
    annotations |= {
        f"features.operators.openshift.io/{name}": str(value).lower() for name, value in sorted(_FEATURES.items())
    }
    labels = {f"operatorframework.io/arch.{arch.oci}": "supported" for arch in facts.component.arches}
    return {
        "name": f"{facts.settings.name}.v{facts.version}",
        "annotations": annotations,
        "labels": labels | {"operatorframework.io/os.linux": "supported"},
    }


def _description(facts: OperatorFacts) -> str:
    settings = facts.settings
    drivers = ", ".join(item.driver.name for item in facts.drivers)
    return (
        f"{facts.component.description}.\n\n"
        f"Drivers: {drivers}. It needs the Kernel Module Management operator, and Node Feature Discovery where nodes "
        f"are to be found by their devices. Before it is installed, an administrator applies {DRIVERS_FILE}, which "
        "makes the drivers' namespaces and gives KMM's pods the right to be privileged there: the operator itself has "
        f"no such right. It is installed into the namespace {settings.namespace_name}.\n\n"
        f"Documentation: {settings.documentation}\n"
    )


def _annotations(facts: OperatorFacts) -> dict[str, str]:
    settings = facts.settings
    prefix = "operators.operatorframework.io.bundle"
    # Not olm.maxOpenShiftVersion: the index learns of releases that come after this bundle.
    return {
        f"{prefix}.mediatype.v1": "registry+v1",
        **{f"{prefix}.{name}.v1": folder for name, folder in _FOLDERS.items()},
        f"{prefix}.package.v1": settings.name,
        f"{prefix}.channels.v1": settings.channel,
        f"{prefix}.channel.default.v1": settings.channel,
        "com.redhat.openshift.versions": f"v{_oldest_minor(facts.releases)}",
    }


def _oldest_minor(releases: Sequence[str]) -> str:
    """Return the oldest minor that a published kernel is for, none before the first whose API server knows the kind."""
    minors = {tuple(map(int, version.split(".")[:2])) for version in releases if version.count(".") >= 2}  # noqa: PLR2004
    oldest = tuple(map(int, _OLDEST_OPENSHIFT.split(".")))
    return ".".join(map(str, max(oldest, min(minors, default=oldest))))


def _metadata(csv: dict[str, Any]) -> dict[str, Any]:
    """Return what consoles show of the bundle (olm.csv.metadata)."""
    spec = csv["spec"]
    names = (
        "displayName", "description", "installModes", "keywords", "links", "maintainers", "maturity", "minKubeVersion",
        "provider",
    )  # fmt: skip
    annotations, labels = csv["metadata"]["annotations"], csv["metadata"]["labels"]
    found = {name: spec[name] for name in names}
    return {
        "annotations": annotations,
        "apiServiceDefinitions": {},
        "crdDescriptions": spec["customresourcedefinitions"],
        "labels": labels,
        **found,
    }


def _without_namespace(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object as OLM wants it: it says the namespace."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "namespace"}
    return {**item, "metadata": metadata}


def _dockerfile(labels: dict[str, str], copied: str) -> str:
    lines = "".join(f'LABEL {name}="{value}"\n' for name, value in labels.items())
    return f"FROM scratch\n\n{lines}\n{copied}"
