"""Everything that the Kernel Module Management operator needs for a driver, as files. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from builder.config.tag_rules import normalize_tag
from builder.emit.deviceplugin.by_kmm import make_kmm_plugin
from builder.emit.kmm.problem import Severity
from builder.emit.kmm.rules import find_problems
from builder.emit.kmm.version import Flavour, KmmVersion
from builder.errors import UsageError
from builder.writing import emit_json, emit_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from builder.config.model.driver import Driver
    from builder.config.model.kmm import KmmModule
    from builder.emit.deviceplugin.files import PluginFacts
    from builder.kernel import KernelVersion
    from builder.publish.result import PublishedCell

_API = "kmm.sigs.x-k8s.io"
_DOCKERFILE_KEY = "dockerfile"  # KMM looks for no other
FORMAT_VERSION = 1
_PASSING = ("unschedulable", "disk-pressure", "memory-pressure", "pid-pressure")
TOLERATIONS = tuple(
    {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": "NoSchedule"} for name in _PASSING
)
"""What a node may have that keeps its driver.

KMM unloads a driver from a node with a taint that is not tolerated (internal/node/node.go, IsNodeSchedulable), and to
cordon a node is to taint it: the driver went while pods still used its devices, and no cordoned node got a new one. Of
pressures KMM itself says so since January 2026.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseKernel:
    """A kernel of an OpenShift release, and the toolkit for it; ``release`` is empty for other kernels."""

    release: str
    kernel: KernelVersion
    toolkit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KmmFacts:
    """What files for KMM are made of. ``containerfile`` is only used where KMM builds in the cluster."""

    driver: Driver
    modules: Sequence[str]
    cells: Sequence[PublishedCell]
    releases: Sequence[ReleaseKernel]
    containerfile: str = ""
    build_arguments: Mapping[str, str] = field(default_factory=dict)
    registry_tls: Mapping[str, bool] = field(default_factory=dict)
    """KMM's registryTLS, where versions.yaml says that the images' registry has no TLS that can be checked."""
    plugin: PluginFacts | None = None
    """The device plugin that KMM runs beside the driver."""

    @property
    def namespace(self) -> str:
        return self.driver.kmm.namespace or self.driver.name

    @property
    def service_account(self) -> str:
        return f"{self.driver.name}-module-loader"


def emit_kmm(facts: KmmFacts, version: KmmVersion, flavour: Flavour) -> dict[str, str]:
    """Return files by name, in the order in which they are applied; equal facts give equal files.

    Args:
        facts: driver, published images and releases.
        version: fields that came later are left out.
        flavour: OpenShift's operator or upstream's.

    Raises:
        UsageError: KMM would refuse them, because of what versions.yaml says.
    """
    files = {
        "00-namespace.yaml": emit_yaml(make_namespace(facts)),
        "10-access.yaml": emit_yaml(*make_access(facts, flavour)),
    }
    if secrets := _secrets(facts):
        files["20-secrets.example.yaml"] = (
            "# Skeletons: put values in, or make the Secrets by other means. They hold none here on purpose.\n"
            + emit_yaml(*secrets)
        )
    if facts.driver.kmm.in_cluster_build:
        files["30-containerfile.yaml"] = emit_yaml(_config_map(facts))
    files["40-module.yaml"] = emit_yaml(make_module(facts, version, flavour))
    for name, objects in _preflights(facts, flavour):
        files[f"preflight/{name}.yaml"] = emit_yaml(*objects)
    _check(files, version, flavour)
    files["imageset-config.yaml"] = emit_yaml(_image_set(facts))
    files["images.json"] = emit_index(facts)
    return files


def _check(files: Mapping[str, str], version: KmmVersion, flavour: Flavour) -> None:
    """Hold what is written to the rules for what people write."""
    for content in files.values():
        for data in yaml.safe_load_all(content):
            for problem in find_problems(data, version, flavour):
                if problem.severity is Severity.ERROR:
                    raise UsageError(
                        f"KMM {version} would refuse {data['kind']} {data['metadata']['name']}: "
                        f"{'.'.join(map(str, problem.path))}: {problem.message}",
                        hint="change the driver's name, or its 'kmm' entry in versions.yaml",
                    )


def make_module(facts: KmmFacts, version: KmmVersion, flavour: Flavour) -> dict[str, Any]:
    """Return the Module: a literal mapping by digest for each published kernel, then patterns for in-cluster builds."""
    settings = facts.driver.kmm
    container: dict[str, Any] = {
        "imagePullPolicy": "IfNotPresent",
        "modprobe": _modprobe(facts),
        "kernelMappings": [
            {"literal": cell.kernel.raw, "containerImage": f"{cell.repository}@{cell.digest}"}
            for cell in _ordered(facts.cells)
        ],
    }
    if facts.registry_tls:
        container["registryTLS"] = dict(facts.registry_tls)
    if settings.ordered_upgrade:
        container = {"version": facts.driver.version, **container}
    if settings.in_tree_modules_to_remove:
        container["inTreeModulesToRemove"] = list(settings.in_tree_modules_to_remove)
    if settings.in_cluster_build:
        container["kernelMappings"] += _building_mappings(facts, version, flavour)
    spec: dict[str, Any] = {
        "selector": dict(settings.selector),
        "moduleLoader": {"serviceAccountName": facts.service_account, "container": container},
    }
    if facts.plugin:
        spec["devicePlugin"] = make_kmm_plugin(facts.plugin, version)
    said = [item.model_dump(exclude_defaults=True) for item in settings.tolerations]
    spec["tolerations"] = [*TOLERATIONS, *(item for item in said if item not in TOLERATIONS)]
    if settings.pull_secret:
        spec["imageRepoSecret"] = {"name": settings.pull_secret}
    return _object(f"{_API}/v1beta1", "Module", facts.driver.name, facts.namespace) | {"spec": spec}


def _ordered(cells: Iterable[PublishedCell]) -> list[PublishedCell]:
    return sorted(cells, key=lambda cell: cell.kernel.sort_key)


def _modprobe(facts: KmmFacts) -> dict[str, Any]:
    settings = facts.driver.kmm
    order = list(reversed(settings.loading_order))
    modprobe: dict[str, Any] = {"moduleName": settings.module or (order or [facts.modules[-1]])[0], "dirName": "/opt"}
    if order:
        modprobe["modulesLoadingOrder"] = order
    if settings.parameters:
        modprobe["parameters"] = list(settings.parameters)
    if facts.driver.firmware:
        modprobe["firmwarePath"] = "/firmware"
    return modprobe


def _building_mappings(facts: KmmFacts, version: KmmVersion, flavour: Flavour) -> list[dict[str, Any]]:
    """Return a mapping for each family of kernels (series, architecture, variant) with what KMM builds it from."""
    # Not the tag that publish gives: what a cluster built must not stand in the way of what was proven.
    image = f"{facts.driver.image_name}:{normalize_tag(facts.driver.version)}-${{KERNEL_FULL_VERSION}}-in-cluster"
    mappings = []
    for pattern in _families([*(item.kernel for item in facts.releases), *(cell.kernel for cell in facts.cells)]):
        mapping: dict[str, Any] = {"regexp": pattern, "containerImage": image, "build": _build(facts)}
        if _build_settings(facts).sign:
            mapping["sign"] = _sign(facts, version)
        if flavour is Flavour.UPSTREAM:
            # Upstream finds no toolkit by itself: the argument must be given for each cluster.
            mapping["build"]["buildArgs"].append({"name": "DTK_AUTO", "value": "TOOLKIT-IMAGE-OF-THE-KERNEL"})
        mappings.append(mapping)
    return mappings


def _families(kernels: Iterable[KernelVersion]) -> list[str]:
    """Return anchored patterns for kernels that differ in their build number only."""
    found: dict[str, None] = {}
    for kernel in sorted(kernels, key=lambda item: item.sort_key):
        if match := re.fullmatch(r"(\d+\.\d+\.\d+)-[0-9.]+(\.el\d+(?:_\d+)?\.\w+(?:\+\w+)?)", kernel.raw):
            found[f"^{re.escape(match[1])}-[0-9.]+{re.escape(match[2])}$"] = None
    return [pattern.replace(r"\-", "-") for pattern in found]


def _build_settings(facts: KmmFacts) -> Any:
    settings = facts.driver.kmm.in_cluster_build
    if settings is None:
        raise ValueError(facts.driver.name)
    return settings


def _build(facts: KmmFacts) -> dict[str, Any]:
    settings = _build_settings(facts)
    arguments = {**facts.build_arguments, "SOURCE": settings.source, "SOURCE_SHA256": settings.source_sha256}
    return {
        "dockerfileConfigMap": {"name": f"{facts.driver.name}-containerfile"},
        "buildArgs": [{"name": name, "value": value} for name, value in sorted(arguments.items())],
    }


def _sign(facts: KmmFacts, version: KmmVersion) -> dict[str, Any]:
    """Globs, because the folder is named by the raw kernel version, which KMM's variables do not give."""
    names = [f"/opt/lib/modules/*/extra/{module}.ko" for module in facts.modules]
    if not version.has("2.6"):
        names = [name.replace("*", "${KERNEL_FULL_VERSION}") for name in names]
    return {
        "keySecret": {"name": f"{facts.driver.name}-signing-key"},
        "certSecret": {"name": f"{facts.driver.name}-signing-cert"},
        "filesToSign": names,
    }


def make_namespace(facts: KmmFacts) -> dict[str, Any]:
    """Return the namespace, in which pods may be privileged: KMM's have to be."""
    labels = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
    namespace = _object("v1", "Namespace", facts.namespace)
    namespace["metadata"]["labels"] = labels
    return namespace


def make_access(facts: KmmFacts, flavour: Flavour) -> list[dict[str, Any]]:
    """Return the accounts of KMM's pods; on OpenShift with the right to be privileged, as KMM runs them."""
    names = [facts.service_account, *([facts.plugin.component.name] if facts.plugin else [])]
    accounts = [_object("v1", "ServiceAccount", name, facts.namespace) for name in names]
    if flavour is Flavour.UPSTREAM:
        return accounts
    api = "rbac.authorization.k8s.io"
    rule = {
        "apiGroups": ["security.openshift.io"],
        "resources": ["securitycontextconstraints"],
        "resourceNames": ["privileged"],
        "verbs": ["use"],
    }
    name = f"{facts.service_account}-privileged"
    role = _object(f"{api}/v1", "Role", name, facts.namespace) | {"rules": [rule]}
    binding = _object(f"{api}/v1", "RoleBinding", name, facts.namespace) | {
        "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": item, "namespace": facts.namespace} for item in names],
    }
    return [*accounts, role, binding]


def _secrets(facts: KmmFacts) -> list[dict[str, Any]]:
    """Return Secrets with the keys that KMM reads, and no values."""
    settings: KmmModule = facts.driver.kmm
    secrets = []
    if settings.pull_secret:
        pull = _object("v1", "Secret", settings.pull_secret, facts.namespace)
        secrets.append(pull | {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": ""}})
    if settings.in_cluster_build and settings.in_cluster_build.sign:
        for name, key in (("signing-key", "key"), ("signing-cert", "cert")):
            secret = _object("v1", "Secret", f"{facts.driver.name}-{name}", facts.namespace)
            secrets.append(secret | {"type": "Opaque", "stringData": {key: ""}})
    return secrets


def _config_map(facts: KmmFacts) -> dict[str, Any]:
    config_map = _object("v1", "ConfigMap", f"{facts.driver.name}-containerfile", facts.namespace)
    return config_map | {"data": {_DOCKERFILE_KEY: facts.containerfile}}


def _preflights(facts: KmmFacts, flavour: Flavour) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return what asks KMM whether modules are there for a kernel that no node runs yet, by release."""
    found: dict[str, list[dict[str, Any]]] = {}
    for item in facts.releases:
        title = item.release or item.kernel.raw
        name = _dns_name(f"{facts.driver.name}-{title}" + (f"-{item.kernel.variant}" if item.release else ""))
        spec: dict[str, Any] = {"kernelVersion": item.kernel.raw, "pushBuiltImage": False}
        kind = "PreflightValidation"
        if flavour is Flavour.OPENSHIFT:
            kind = "PreflightValidationOCP"
            if item.toolkit:
                spec["dtkImage"] = item.toolkit
        found.setdefault(_dns_name(title), []).append(_object(f"{_API}/v1beta2", kind, name) | {"spec": spec})
    return sorted(found.items())


def _dns_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _image_set(facts: KmmFacts) -> dict[str, Any]:
    """Return what oc-mirror v2 copies to a disconnected site (mirror.openshift.io/v2alpha1)."""
    images = [{"name": f"{cell.repository}@{cell.digest}"} for cell in _ordered(facts.cells)]
    if facts.plugin:
        images.append({"name": facts.plugin.image})
    return {
        "apiVersion": "mirror.openshift.io/v2alpha1",
        "kind": "ImageSetConfiguration",
        "mirror": {"additionalImages": images},
    }


def emit_index(facts: KmmFacts) -> str:
    """Return which image each kernel gets, for programs."""
    kernels = {
        cell.kernel.raw: {
            "image": f"{cell.repository}@{cell.digest}",
            "digest": cell.digest,
            "tags": list(cell.tags),
            "arch": cell.kernel.arch.oci,
            "variant": str(cell.kernel.variant),
        }
        for cell in _ordered(facts.cells)
    }
    data = {
        "format": FORMAT_VERSION,
        "driver": facts.driver.name,
        "version": facts.driver.version,
        "kernels": kernels,
    }
    return emit_json(data)


def _object(api_version: str, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
