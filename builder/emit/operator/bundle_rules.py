"""Whether the parts of a bundle fit each other, and what catalogs read of it. Pure.

Sources: operator-registry (pkg/lib/bundle: kinds, labels), operator-controller (what of registry+v1 it refuses),
Kubernetes' deprecation guide (versions of APIs that are gone).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from builder.certify.bundle_words import PACKAGE_ANNOTATION, VERSIONS_ANNOTATION, gone_in
from builder.emit.kmm.documents import as_mapping
from builder.emit.kmm.problem import Problem, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.emit.kmm.documents import KubernetesObject

_PREFIX = "operators.operatorframework.io.bundle."
_ROOT = ("annotations",)
_FIXED = {"mediatype.v1": "registry+v1", "manifests.v1": "manifests/", "metadata.v1": "metadata/"}
_CHANNELS = ("candidate", "fast", "stable")
_VERSIONS = re.compile(r"=?v\d+\.\d+|v\d+\.\d+-v\d+\.\d+|v\d+\.\d+(,v\d+\.\d+)+")
_REFUSED = ("olm.package.required", "olm.gvk.required", "olm.constraint", "olm.package", "olm.gvk")
_MAY_HOLD = frozenset(
    [
        "ClusterRole", "ClusterRoleBinding", "ClusterServiceVersion", "ConfigMap", "ConsoleCLIDownload", "ConsoleLink",
        "ConsolePlugin", "ConsoleQuickStart", "ConsoleYAMLSample", "CustomResourceDefinition", "NetworkPolicy",
        "PodDisruptionBudget", "PodMonitor", "PriorityClass", "PrometheusRule", "Role", "RoleBinding", "Secret",
        "Service", "ServiceAccount", "ServiceMonitor", "VerticalPodAutoscaler",
    ]
)  # fmt: skip


def check_object(item: KubernetesObject, version: str = "") -> Iterator[Problem]:
    """Check what any object of a bundle has to be."""
    data = as_mapping(item.data)
    if not item.kind or not data.get("apiVersion"):
        yield Problem(path=(), code="no-object", message="has no kind or no apiVersion: it is no object of a cluster")
        return
    if item.kind not in _MAY_HOLD:
        words = f"a bundle may not hold a {item.kind}: whoever installs it refuses the whole"
        yield Problem(path=("kind",), code="bundle-kind", message=words)
    if not item.name:
        yield Problem(path=("metadata",), code="no-name", message="has no metadata.name")
    if item.namespace and item.kind != "CustomResourceDefinition":
        words = f"is in namespace {item.namespace!r}, and is put into that of the operator instead"
        yield warn(("metadata", "namespace"), "namespace", words)
    api = str(data["apiVersion"])
    gone = gone_in(api, item.kind)
    minor = int(version.partition(".")[2]) if version else gone
    if gone is not None and minor is not None and minor >= gone:
        words = f"Kubernetes 1.{gone} and later have no {api} {item.kind}"
        yield Problem(path=("apiVersion",), code="removed-api", message=words)


def check_parts(objects: Sequence[KubernetesObject]) -> Iterator[tuple[KubernetesObject, Problem]]:
    """Check objects against each other: names, and the kinds that the ClusterServiceVersion says it owns."""
    seen: set[tuple[str, str]] = set()
    for item in objects:
        if item.name and (item.kind, item.name) in seen:
            words = f"{item.kind} {item.name} is there twice"
            yield item, Problem(path=("metadata", "name"), code="twice", message=words)
        seen.add((item.kind, item.name))
    definitions = {item.name: item for item in objects if item.kind == "CustomResourceDefinition"}
    csvs = [item for item in objects if item.kind == "ClusterServiceVersion"]
    for csv in csvs:
        yield from ((csv, problem) for problem in _check_owned(csv, definitions))
    if csvs:
        owned = {str(as_mapping(one).get("name")) for csv in csvs for one in owned_of(csv)}
        for name, item in definitions.items():
            if name not in owned:
                words = f"is in the bundle, and no ClusterServiceVersion owns {name}: nobody installs it"
                yield item, Problem(path=("metadata", "name"), code="not-owned", message=words)


def owned_of(csv: KubernetesObject) -> Sequence[Any]:
    """Return what a ClusterServiceVersion says it owns."""
    said = as_mapping(as_mapping(as_mapping(csv.data).get("spec")).get("customresourcedefinitions")).get("owned")
    return said if isinstance(said, list) else []


def _check_owned(csv: KubernetesObject, definitions: Mapping[str, KubernetesObject]) -> Iterator[Problem]:
    for number, one in enumerate(owned_of(csv)):
        path = ("spec", "customresourcedefinitions", "owned", number)
        said = as_mapping(one)
        name, kind, version = (said.get(word) for word in ("name", "kind", "version"))
        if not (isinstance(name, str) and "." in name):
            yield Problem(path=path, code="owned-name", message="its name is that of the definition, PLURAL.GROUP")
            continue
        if name not in definitions:
            words = f"the bundle has no CustomResourceDefinition {name}"
            yield Problem(path=(*path, "name"), code="owned-absent", message=words)
            continue
        spec = as_mapping(as_mapping(definitions[name].data).get("spec"))
        there = as_mapping(spec.get("names")).get("kind")
        if kind != there:
            words = f"its kind is {kind!r}, and that of the CustomResourceDefinition is {there!r}"
            yield Problem(path=(*path, "kind"), code="owned-kind", message=words)
        found = spec.get("versions")
        versions = [as_mapping(item).get("name") for item in found] if isinstance(found, list) else []
        if version not in versions:
            words = f"version {version!r} is not in the CustomResourceDefinition, which has {_listed(versions)}"
            yield Problem(path=(*path, "version"), code="owned-version", message=words)


def check_annotations(data: Any, csvs: Sequence[str]) -> Iterator[Problem]:
    """Check ``metadata/annotations.yaml``.

    Args:
        data: the document.
        csvs: names of the bundle's ClusterServiceVersions.
    """
    said = as_mapping(as_mapping(data).get("annotations"))
    if not said:
        yield Problem(path=(), code="annotation", message="has no 'annotations'")
        return
    for name, value in said.items():
        if not isinstance(value, str):
            words = f"is {value!r:.60}, and a label of an image is text: write it in quotes"
            yield Problem(path=(*_ROOT, name), code="annotation", message=words)
    for name, fixed in _FIXED.items():
        value = said.get(_PREFIX + name)
        if value != fixed:
            words = f"{_PREFIX}{name} is {value!r:.100}, and has to be {fixed!r}"
            yield Problem(path=(*_ROOT, _PREFIX + name), code="annotation", message=words)
    package = said.get(PACKAGE_ANNOTATION)
    if not package:
        words = f"{PACKAGE_ANNOTATION} is absent: nothing says of which package this is"
        yield Problem(path=_ROOT, code="annotation", message=words)
    elif csvs and not any(name.startswith(f"{package}.") for name in csvs):
        words = f"the package is {package!r}, and the ClusterServiceVersion is called {csvs[0]!r}"
        yield warn((*_ROOT, PACKAGE_ANNOTATION), "package-name", words)
    yield from _check_channels(said)
    versions = said.get(VERSIONS_ANNOTATION)
    if versions is not None and not (isinstance(versions, str) and _VERSIONS.fullmatch(versions)):
        words = f"{versions!r:.60} is no range of OpenShift such as v4.14, =v4.16 or v4.14-v4.18"
        yield Problem(path=(*_ROOT, VERSIONS_ANNOTATION), code="openshift-versions", message=words)


def _check_channels(said: Mapping[str, Any]) -> Iterator[Problem]:
    name, default_name = f"{_PREFIX}channels.v1", f"{_PREFIX}channel.default.v1"
    channels = [word.strip() for word in str(said.get(name) or "").split(",") if word.strip()]
    if not channels:
        yield Problem(path=_ROOT, code="channels", message=f"{name} is absent: it is offered in no channel")
    default = said.get(default_name)
    if default and channels and default not in channels:
        words = f"the default channel {default!r} is none of the bundle's: {_listed(channels)}"
        yield Problem(path=(*_ROOT, default_name), code="channels", message=words)
    for channel in channels:
        if not channel.startswith(_CHANNELS):
            words = f"channel {channel!r} begins with none of {', '.join(_CHANNELS)}, as channels do"
            yield warn((*_ROOT, name), "channel-name", words)


def check_needs(data: Any) -> Iterator[Problem]:
    """Check what a bundle asks for besides itself."""
    for word in ("dependencies", "properties"):
        found = as_mapping(data).get(word)
        for number, one in enumerate(found if isinstance(found, list) else ()):
            kind = as_mapping(one).get("type")
            if kind in _REFUSED and (word == "dependencies" or str(kind).endswith((".required", "constraint"))):
                words = f"OLM v1 refuses a bundle with {kind!r}: say in a condition what the cluster lacks"
                yield warn((word, number), "needs", words)


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names)) or "none"
