"""Bundles of operators: a good one (ours), and what each mistake in it is called, by us and by operator-framework/api."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from builder.emit.kmm.version import Flavour
from builder.emit.operator.bundle import emit_bundle
from builder.emit.operator.bundle_reading import read_bundle
from builder.emit.operator.lint import lint_bundle
from builder.emit.operator.model import make_operator
from builder.errors import format_path
from fakes.operator_facts import operator_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.emit.kmm.lint import LintResult

Documents = dict[str, Any]
CSV = "manifests/kmod-operator.clusterserviceversion.yaml"
CRD = "manifests/kerneldrivers.drivers.example.com.crd.yaml"
ANNOTATIONS = "metadata/annotations.yaml"
SERVICE = "manifests/kmod-operator-metrics.service.yaml"
NEEDS = "metadata/dependencies.yaml"
GONE = object()
"""In place of a value: there is none."""


def good_bundle(flavour: Flavour = Flavour.OPENSHIFT) -> Documents:
    """Return the documents of our own bundle, by file."""
    facts = operator_facts(flavour=flavour)
    files = emit_bundle(facts, make_operator(facts))
    return {name: yaml.safe_load(text) for name, text in files.items() if name.startswith(("manifests/", "metadata/"))}


def write_bundle(folder: Path, documents: Mapping[str, Any]) -> Path:
    for name, document in documents.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        # JSON is YAML, and written in no time.
        file.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
    return folder


def change(documents: Documents, file: str, path: tuple[str | int, ...], value: Any) -> Documents:
    """Return other documents: with a value at a path, or without what is there."""
    found = copy.deepcopy(documents)
    if not path:
        if value is GONE:
            del found[file]
        else:
            found[file] = value
        return found
    inner = found[file]
    for part in path[:-1]:
        inner = inner.setdefault(part, {}) if isinstance(inner, dict) else inner[part]
    if value is GONE:
        del inner[path[-1]]
    elif isinstance(inner, list) and path[-1] == len(inner):
        inner.append(value)
    else:
        inner[path[-1]] = value
    return found


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One mistake.

    Attributes:
        place: where it is told; empty: at ``path``.
        ours: our code; ``theirs``: the level at which operator-framework/api tells it, empty where it does not.
    """

    file: str
    path: tuple[str | int, ...]
    value: Any
    ours: str
    is_error: bool
    theirs: str
    place: str | None = None
    told_in: str = ""

    @property
    def id(self) -> str:
        value = "gone" if self.value is GONE else str(self.value)[:30]
        return f"{'.'.join(map(str, self.path[-3:])) or self.file}={value}"


def _error(file: str, path: tuple[str | int, ...], value: Any, code: str, theirs: str = "", **more: Any) -> Mutation:
    return Mutation(file=file, path=path, value=value, ours=code, is_error=True, theirs=theirs, **more)


def _warning(file: str, path: tuple[str | int, ...], value: Any, code: str, theirs: str = "", **more: Any) -> Mutation:
    return Mutation(file=file, path=path, value=value, ours=code, is_error=False, theirs=theirs, **more)


_OWNED = ("spec", "customresourcedefinitions", "owned", 0)
_NOTES = ("metadata", "annotations")
_INSTALL = ("spec", "install", "spec")
_DEPLOYMENT = (*_INSTALL, "deployments", 0)
_POD = (*_DEPLOYMENT, "spec", "template", "spec")
_CONTAINER = (*_POD, "containers", 0)
_CONTEXT = (*_CONTAINER, "securityContext")
_RULES = (*_INSTALL, "clusterPermissions", 0, "rules")
_VERSION = ("spec", "versions", 0)
_SCHEMA = (*_VERSION, "schema", "openAPIV3Schema")
_FIELDS = (*_SCHEMA, "properties", "spec", "properties")
_LABEL = "operators.operatorframework.io.bundle."
_IN = "spec.install.spec.deployments[0].spec.template.spec"
_AT = "spec.versions[0].schema.openAPIV3Schema"
_OTHER = f"quay.test/other@sha256:{'d' * 64}"


def _rule(group: str, resource: str, *verbs: str) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


MUTATIONS: tuple[Mutation, ...] = (
    # The ClusterServiceVersion: names, words.
    _error(CSV, (), GONE, "no-csv", "Error", place="", told_in="manifests"),
    _error(CSV, ("spec", "version"), "1.4", "csv-version"),
    _error(CSV, ("spec", "version"), GONE, "csv-version", "Error"),
    _error(CSV, ("spec", "replaces"), "Kmod Operator", "csv-name", "Error"),
    _error(CSV, ("spec", "replaces"), "kmod-operator.v1.4.0", "csv-name"),
    _error(CSV, ("metadata", "name"), "KmodOperator.v1.4.0", "csv-name", "Error"),
    _warning(CSV, ("metadata", "name"), "kmod-operator-1.4.0", "csv-name", "Warning"),
    _warning(CSV, ("metadata", "name"), "kmod-operator.v1.3.9", "csv-name"),
    _error(CSV, ("spec", "relatedImage"), [], "unknown-field"),
    _error(CSV, ("spec", "displayName"), GONE, "csv-words", "Error"),
    _warning(CSV, ("spec", "description"), "", "csv-words"),
    _error(CSV, ("spec", "provider"), GONE, "csv-words", "Error"),
    _error(CSV, ("spec", "maintainers", 0), {"name": "A"}, "csv-words", "Error"),
    _error(CSV, ("spec", "maintainers", 0, "email"), "nobody", "csv-words", "Error"),
    _error(CSV, ("spec", "links", 0), {"name": "A"}, "csv-words", "Error"),
    _error(CSV, ("spec", "links", 0, "url"), "nowhere", "csv-words", "Error"),
    _warning(CSV, ("spec", "keywords"), GONE, "no-keywords"),
    _warning(CSV, ("spec", "minKubeVersion"), GONE, "min-kube-version", "Warning"),
    _error(CSV, ("spec", "minKubeVersion"), "1.27", "min-kube-version", "Error"),
    # How it is installed.
    _error(CSV, ("spec", "installModes"), [], "install-modes", "Error"),
    _error(CSV, ("spec", "installModes", 3, "supported"), False, "install-modes", "Error", place="spec.installModes"),
    _error(CSV, ("spec", "installModes", 0, "type"), "SomeNamespaces", "install-modes", place="spec.installModes[0]"),
    _error(CSV, ("spec", "installModes", 0, "type"), "AllNamespaces", "install-modes", place="spec.installModes[3]"),
    _error(CSV, ("spec", "installModes", 0, "supported"), "no", "install-modes", "Error", place="spec.installModes[0]"),
    _warning(
        CSV, ("spec", "installModes"), [{"type": "OwnNamespace", "supported": True}], "install-modes",
    ),
    _error(CSV, ("spec", "install", "strategy"), "helm", "install"),
    _error(CSV, (*_INSTALL, "deployments"), [], "install", place="spec.install.spec"),
    # Annotations.
    _error(CSV, (*_NOTES, "capabilities"), "Autopilot", "capabilities", "Error"),
    _error(CSV, (*_NOTES, "categories"), "Drivers and plugins", "categories", "Error"),
    _error(CSV, (*_NOTES, "olm.skiprange"), "<1.0.0", "annotation-case", "Error"),
    _warning(CSV, (*_NOTES, "olm.properties"), "[]", "properties", "Warning"),
    _error(CSV, (*_NOTES, "alm-examples"), "[{]", "examples", "Error"),
    _error(CSV, (*_NOTES, "alm-examples"), '[{"apiVersion": "x/v1", "kind": "Y"}]', "examples", "Error"),
    _warning(CSV, (*_NOTES, "alm-examples"), "[]", "examples", "Warning"),
    _warning(CSV, (*_NOTES, "alm-examples"), GONE, "examples", "Warning", place="metadata.annotations"),
    _warning(CSV, (*_NOTES, "features.operators.openshift.io/disconnected"), GONE, "features"),
    _warning(CSV, (*_NOTES, "features.operators.openshift.io/proxy-aware"), "yes", "features"),
    # Its parts.
    _error(CSV, (*_OWNED, "name"), "other.drivers.example.com", "owned-absent"),
    _error(CSV, (*_OWNED, "name"), "nogroup", "owned-name", "Error", place=
           "spec.customresourcedefinitions.owned[0]"),
    _error(CSV, (*_OWNED, "version"), "v7", "owned-version", "Error"),
    _error(CSV, (*_OWNED, "kind"), "Driver", "owned-kind", "Error"),
    _warning(CSV, (*_OWNED, "description"), GONE, "owned-words", "Warning",
             place="spec.customresourcedefinitions.owned[0]"),
    _error(CSV, ("spec", "customresourcedefinitions"), GONE, "not-owned", "Error", place="metadata.name", told_in=CRD),
    _error(CRD, (), GONE, "owned-absent", "Error", told_in=CSV, place="spec.customresourcedefinitions.owned[0].name"),
    _error(
        "manifests/x.yaml", (), {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "kmod-operator"}},
        "account-twice", "Error", told_in=CSV, place=_IN,
    ),
    _error(
        "manifests/x.yaml", (), {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "x"}},
        "bundle-kind", place="kind",
    ),
    _error("manifests/x.yaml", (), {"apiVersion": "v1", "kind": "Secret"}, "no-name", place="metadata"),
    _error("manifests/x.yaml", (), {"metadata": {"name": "x"}}, "no-object", "Error"),
    _error(
        "manifests/x.yaml", (), {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "x"}},
        "removed-api", "Error", place="apiVersion",
    ),
    _error(
        "manifests/zz.yaml", (), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kmod-operator-metrics"}},
        "twice", place="metadata.name",
    ),
    _warning(SERVICE, ("metadata", "namespace"), "elsewhere", "namespace"),
    # Pods and images.
    _error(CSV, (*_CONTAINER, "image"), "quay.test/org/operator:1.4.0", "image-tag"),
    _error(CSV, (*_CONTAINER, "image"), _OTHER, "related-images"),
    _error(CSV, (*_CONTAINER, "image"), GONE, "image", place=f"{_IN}.containers[0]"),
    _error(
        CSV, (*_CONTAINER, "env", 0), {"name": "RELATED_IMAGE_X", "value": _OTHER}, "related-images",
        place=f"{_IN}.containers[0].env[0].value",
    ),
    _error(CSV, ("spec", "relatedImages", 0, "image"), "", "related-images", "Error", place="spec.relatedImages[0]"),
    _error(CSV, ("spec", "relatedImages", 0, "image"), "UPPER/x y", "related-images", "Error"),
    _error(CSV, ("spec", "relatedImages", 0, "image"), "quay.test/org/operator:1", "image-tag"),
    _warning(CSV, (*_POD, "hostNetwork"), True, "privileged"),
    _warning(CSV, (*_POD, "volumes", 0), {"name": "x", "hostPath": {"path": "/"}}, "host-path"),
    _warning(CSV, (*_CONTEXT, "privileged"), True, "privileged"),
    _warning(CSV, (*_CONTEXT, "allowPrivilegeEscalation"), GONE, "escalation", place=f"{_IN}.containers[0].securityContext"),
    _warning(CSV, (*_CONTEXT, "capabilities"), {"add": ["SYS_ADMIN"]}, "capabilities",
             place=f"{_IN}.containers[0].securityContext.capabilities.add"),
    _warning(CSV, (*_CONTEXT, "capabilities"), GONE, "capabilities", place=f"{_IN}.containers[0].securityContext"),
    _warning(CSV, (*_CONTEXT, "runAsUser"), 0, "root", place=f"{_IN}.containers[0].securityContext"),
    _warning(CSV, (*_POD, "securityContext"), GONE, "root", place=f"{_IN}.containers[0].securityContext"),
    _warning(CSV, (*_CONTAINER, "livenessProbe"), GONE, "probe", place=f"{_IN}.containers[0]"),
    _warning(CSV, (*_CONTAINER, "readinessProbe"), GONE, "probe", place=f"{_IN}.containers[0]"),
    _warning(CSV, (*_CONTAINER, "resources"), GONE, "requests", "Warning", place=f"{_IN}.containers[0]"),
    _error(CSV, (*_POD, "containers"), [], "no-container", place=_IN),
    _error(CSV, (*_DEPLOYMENT, "spec", "selector", "matchLabels", "x"), "y", "selector",
           place="spec.install.spec.deployments[0].spec.selector"),
    # Rights.
    _warning(CSV, (*_POD, "serviceAccountName"), "other", "account", place=_IN),
    _error(CSV, (*_INSTALL, "permissions", 0, "rules"), [], "rights", place="spec.install.spec.permissions[0]"),
    _error(CSV, (*_RULES, 0, "verbs"), [], "rights", place="spec.install.spec.clusterPermissions[0].rules[0]"),
    _warning(CSV, (*_RULES, 0, "verbs"), ["*"], "wildcard"),
    _warning(CSV, (*_RULES, 0), _rule("*", "*", "*"), "all-rights"),
    _warning(CSV, (*_RULES, 0), _rule("", "secrets", "list"), "secrets",
             place="spec.install.spec.clusterPermissions[0].rules[0].resources"),
    _warning(CSV, (*_RULES, 0), _rule("rbac.authorization.k8s.io", "clusterroles", "patch"), "power",
             place="spec.install.spec.clusterPermissions[0].rules[0].resources"),
    _warning(CSV, (*_RULES, 0), _rule("apiextensions.k8s.io", "customresourcedefinitions", "create"), "power", "Warning",
             place="spec.install.spec.clusterPermissions[0].rules[0].resources"),
    _warning(CSV, (*_RULES, 0), _rule("", "users", "impersonate"), "power",
             place="spec.install.spec.clusterPermissions[0].rules[0].verbs"),
    # Definitions of kinds.
    _error(CRD, ("metadata", "name"), "drivers.drivers.example.com", "crd-names", "Error"),
    _error(CRD, ("spec", "scope"), "Everywhere", "crd-names", "Error"),
    _error(CRD, ("spec", "names", "plural"), "Drivers!", "crd-names", "Error", place="spec.names"),
    _error(CRD, ("spec", "group"), "drivers.k8s.io", "crd-names", "Error"),
    _error(CRD, ("spec", "versions"), [], "crd-versions", "Error", place="spec"),
    _error(CRD, (*_VERSION, "storage"), False, "crd-versions", "Error", place="spec.versions"),
    _warning(CRD, (*_VERSION, "served"), False, "crd-versions", place="spec.versions"),
    _error(CRD, (*_VERSION, "name"), "V 1", "crd-versions", "Error", place="spec.versions[0]"),
    _error(CRD, (*_VERSION, "schema"), GONE, "structural", place="spec.versions[0]"),
    _error(CRD, (*_SCHEMA, "type"), "array", "structural", place=_AT),
    _error(CRD, (*_FIELDS, "x"), {"description": "no type"}, "structural"),
    _error(CRD, (*_FIELDS, "x"), {"type": "list"}, "structural",
           place=f"{_AT}.properties.spec.properties.x.type"),
    _error(CRD, (*_FIELDS, "x"), {"type": "array"}, "structural"),
    _error(CRD, (*_FIELDS, "x"), 5, "structural", "Error"),
    _error(CRD, (*_FIELDS, "x"), {"type": "string", "$ref": "#/x"}, "structural",
           place=f"{_AT}.properties.spec.properties.x.$ref"),
    _error(CRD, (*_FIELDS, "x"), {"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "structural"),
    _error(CRD, (*_FIELDS, "x"), {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
           "structural"),
    _error(CRD, (*_FIELDS, "x"), {"type": "string", "anyOf": [{"type": "string"}]}, "structural",
           place=f"{_AT}.properties.spec.properties.x.anyOf[0]"),
    _error(CRD, (*_FIELDS, "x"), {
        "type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}, "structural"),
    _warning(CRD, (*_SCHEMA, "x-kubernetes-preserve-unknown-fields"), True, "open-schema"),
    _error(CRD, ("spec", "preserveUnknownFields"), True, "structural", "Error"),
    _warning(CRD, (*_VERSION, "subresources"), GONE, "no-status", place="spec.versions[0]"),
    _error(CRD, ("spec", "conversion"), {"strategy": "Magic"}, "conversion", "Error"),
    _error(CRD, ("spec", "conversion"), {"strategy": "Webhook"}, "conversion", "Error"),
    _error(CRD, ("apiVersion",), "apiextensions.k8s.io/v1beta1", "removed-api", "Error"),
    # What catalogs read.
    _error(ANNOTATIONS, (), GONE, "no-annotations", place=""),
    _error(ANNOTATIONS, ("annotations", f"{_LABEL}mediatype.v1"), "helm+v3", "annotation"),
    _error(ANNOTATIONS, ("annotations", f"{_LABEL}manifests.v1"), "yaml/", "annotation"),
    _error(ANNOTATIONS, ("annotations", f"{_LABEL}package.v1"), GONE, "annotation", place="annotations"),
    _warning(ANNOTATIONS, ("annotations", f"{_LABEL}package.v1"), "other", "package-name"),
    _error(ANNOTATIONS, ("annotations", f"{_LABEL}channels.v1"), GONE, "channels", place="annotations"),
    _error(ANNOTATIONS, ("annotations", f"{_LABEL}channel.default.v1"), "fast", "channels"),
    _warning(ANNOTATIONS, ("annotations", f"{_LABEL}channels.v1"), "stable,beta", "channel-name", "Warning"),
    _error(ANNOTATIONS, ("annotations", "x"), 5, "annotation"),
    _error(ANNOTATIONS, ("annotations", "com.redhat.openshift.versions"), "4.16", "openshift-versions"),
    _warning(
        NEEDS, (), {"dependencies": [{"type": "olm.package", "value": {"packageName": "x", "version": ">1"}}]}, "needs",
        place="dependencies[0]",
    ),
)  # fmt: skip

_RULES_FOLDER = Path(__file__).parents[2] / "builder" / "emit" / "operator"


def mutations_of(module: str) -> list[Mutation]:
    """Return the mistakes that a module of rules tells."""
    text = (_RULES_FOLDER / f"{module}.py").read_text()
    own = {"csv_rules": ("no-keywords",)}.get(module, ())
    return [one for one in MUTATIONS if f'"{one.ours}"' in text or one.ours in own]


def lint_documents(folder: Path, documents: Documents, **more: Any) -> LintResult:
    """Write documents into a bundle, and check it."""
    return lint_bundle(read_bundle(write_bundle(folder, documents)), **more)


def check_told(mutation: Mutation, folder: Path) -> None:
    """Check that a mistake is told where it is, at the right level."""
    result = lint_documents(folder, change(_GOOD, mutation.file, mutation.path, mutation.value))
    wanted = format_path(mutation.path) if mutation.place is None else mutation.place
    file = folder / (mutation.told_in or mutation.file)
    told = [
        (item.mistake.path, item.mistake.file, str(item.severity))
        for item in result.findings
        if item.code == mutation.ours
    ]
    assert (wanted, file, "error" if mutation.is_error else "warning") in told


_GOOD = good_bundle()
