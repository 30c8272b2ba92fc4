"""What is wrong with an object of KMM: what its admission refuses, and what it lets pass and will not work.

Source of the refusals: the CRD schemas and internal/webhook of kernel-module-management and its OpenShift edition,
releases 2.4 to 2.7. Where the webhook's own test is weaker than what it is for (an image without a tag in a registry
with a port), ours is stricter. Pure.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from typing import TYPE_CHECKING, Any

from builder.emit.kmm.container import check_container
from builder.emit.kmm.fields import CLUSTER_SCOPED, SPECS
from builder.emit.kmm.problem import Path, Problem, warn
from builder.emit.kmm.schema import check_field
from builder.emit.kmm.texts import DNS_SUBDOMAIN, LABEL_KEY, LABEL_VALUE
from builder.emit.kmm.version import Flavour, KmmVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Label keys of the form version-schedule-pod.<namespace>.<name> have 63 characters.
_LONGEST_NAMES = {KmmVersion.V2_4: 40, KmmVersion.V2_6: 40, KmmVersion.V2_7: 41}
_DOCUMENTED_NAMES = 39
_ALSO_SERVED = dict.fromkeys(
    ("PreflightValidation", "PreflightValidationOCP"), frozenset({"kmm.sigs.x-k8s.io/v1beta1"})
)
# apimachinery, pkg/apis/meta/v1, ObjectMeta.
_METADATA = frozenset(
    """annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName
    generation labels managedFields name namespace ownerReferences resourceVersion selfLink uid""".split()  # noqa: SIM905
)
# apimachinery, pkg/api/resource, as CRDs state it.
_QUANTITY = re.compile(
    r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+))?"
)
_HOST_PATHS = {
    KmmVersion.V2_6: ("/dev", "/sys", "/var", "/opt"),
    KmmVersion.V2_7: ("/dev", "/sys", "/var", "/opt", "/run"),
}


def find_problems(data: Any, version: KmmVersion, flavour: Flavour) -> Iterator[Problem]:
    """Yield everything that is wrong with an object; objects of other kinds have nothing wrong."""
    if not isinstance(data, dict) or str(data.get("kind")) not in SPECS:
        return
    kind = str(data["kind"])
    api_version, spec_field = SPECS[kind]
    if data.get("apiVersion") in _ALSO_SERVED.get(kind, ()):
        yield warn(("apiVersion",), "deprecated", f"is still served, and stored as {api_version}")
    elif data.get("apiVersion") != api_version:
        yield Problem(path=("apiVersion",), code="api-version", message=f"must be {api_version} for {kind}")
    if kind == "PreflightValidationOCP" and flavour is Flavour.UPSTREAM:
        yield Problem(
            path=("kind",), code="flavour", message="exists on OpenShift only: upstream has PreflightValidation"
        )
    yield from _check_metadata(data, kind, version)
    wrong = list(check_field(data.get("spec"), spec_field, ("spec",), version))
    yield from wrong
    if kind == "Module" and data.get("spec") is None:
        yield warn((), "empty", "it has no spec, so it does nothing")
    if wrong or not isinstance(data.get("spec"), dict):
        return
    spec = data["spec"]
    if kind == "Module":
        yield from _check_module(spec, ("spec",), version)
    elif kind == "ManagedClusterModule" and spec.get("moduleSpec"):
        yield from _check_module(spec["moduleSpec"], ("spec", "moduleSpec"), version)
    elif kind.startswith("Preflight") and len(re.split(r"[.,-]", spec["kernelVersion"])) < 3:  # noqa: PLR2004
        message = f"{spec['kernelVersion']!r} is no kernel version: it has fewer than three parts"
        yield Problem(path=("spec", "kernelVersion"), code="kernel-version", message=message)


def _check_metadata(data: Mapping[str, Any], kind: str, version: KmmVersion) -> Iterator[Problem]:
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    yield from _check_meta_fields(metadata)
    name, namespace = str(metadata.get("name") or ""), str(metadata.get("namespace") or "")
    if not name:
        yield Problem(path=("metadata",), code="name", message="'name' is required and missing")
    elif not DNS_SUBDOMAIN.fullmatch(name):
        message = f"{name!r} is no name: small letters, digits, '-' and '.'"
        yield Problem(path=("metadata", "name"), code="name", message=message)
    if kind in CLUSTER_SCOPED:
        if namespace:
            yield Problem(path=("metadata", "namespace"), code="namespace", message=f"{kind} belongs to no namespace")
        return
    if not namespace:
        yield warn(("metadata",), "namespace", "no namespace is given: it goes to whichever is current")
    if "." in name:
        yield warn(("metadata", "name"), "name-with-dot", "a dot in the name has broken label names of KMM before")
    length, most = len(name + namespace), _LONGEST_NAMES[version]
    if length > most:
        message = f"name and namespace have {length} characters together, and KMM {version} takes {most}"
        yield Problem(path=("metadata", "name"), code="name-length", message=message)
    elif length > _DOCUMENTED_NAMES:
        message = (
            f"name and namespace have {length} characters together, and the documentation allows {_DOCUMENTED_NAMES}"
        )
        yield warn(("metadata", "name"), "name-length", message)


def _check_meta_fields(metadata: Mapping[str, Any]) -> Iterator[Problem]:
    for name in sorted(map(str, metadata.keys() - _METADATA)):
        near = difflib.get_close_matches(name, _METADATA, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        yield Problem(path=("metadata", name), code="unknown-field", message=f"is no field of metadata{hint}")
    for part in ("labels", "annotations"):
        value = metadata.get(part)
        for key, text in value.items() if isinstance(value, dict) else ():
            if not isinstance(text, str):
                message = f"must be text: put {text!r} in quotes"
                yield Problem(path=("metadata", part, key), code="kind", message=message)


def _check_module(spec: Mapping[str, Any], path: Path, version: KmmVersion) -> Iterator[Problem]:
    yield from _check_selector(spec["selector"], (*path, "selector"))
    for number, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _check_toleration(toleration, (*path, "tolerations", number))
    dra, plugin, loader = spec.get("dra"), spec.get("devicePlugin"), spec.get("moduleLoader")
    if dra and plugin:
        yield Problem(path=(*path, "dra"), code="dra", message="dra and devicePlugin exclude each other")
    if dra:
        yield from _check_dra(dra, (*path, "dra"))
    for name, part in (("devicePlugin", plugin), ("dra", dra)):
        yield from _check_volumes((part or {}).get("volumes") or (), (*path, name, "volumes"), version)
        for which in ("container", "initContainer"):
            yield from _check_pod_container((part or {}).get(which) or {}, (*path, name, which))
    if loader:
        yield from check_container(loader["container"], (*path, "moduleLoader", "container"), version)
    elif not plugin and not dra:
        yield warn(path, "empty", "it has neither moduleLoader nor devicePlugin nor dra, so it does nothing")


def _check_selector(selector: Mapping[str, str], path: Path) -> Iterator[Problem]:
    if not selector:
        yield warn(path, "selector", "an empty selector takes every node, control planes included")
    for key, value in selector.items():
        if not LABEL_KEY.fullmatch(key):
            yield Problem(path=(*path, key), code="selector", message=f"{key!r} can be no label of a node")
        elif not LABEL_VALUE.fullmatch(value):
            yield Problem(path=(*path, key), code="selector", message=f"{value!r} can be no value of a label")
        elif key.startswith("node-role.kubernetes.io/") and value:
            message = f"matches no node: the label's value is empty, not {value!r}"
            yield warn((*path, key), "selector", message)


def _check_toleration(toleration: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    def wrong(name: str, message: str) -> Problem:
        return Problem(path=(*path, name), code="toleration", message=message)

    key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
    value, effect = toleration.get("value") or "", toleration.get("effect") or ""
    if operator not in {"Equal", "Exists"}:
        yield wrong("operator", f"must be Equal or Exists, not {operator!r}")
    if key and not LABEL_KEY.fullmatch(key):
        yield wrong("key", f"{key!r} is no qualified name")
    if not key and operator != "Exists":
        yield wrong("operator", "must be Exists where there is no key")
    if operator == "Exists" and value:
        yield wrong("value", "must be empty where the operator is Exists")
    if operator == "Equal" and not LABEL_VALUE.fullmatch(value):
        yield wrong("value", f"{value!r} can be no value of a taint")
    if effect not in {"", "NoSchedule", "PreferNoSchedule", "NoExecute"}:
        yield wrong("effect", f"must be NoSchedule, PreferNoSchedule or NoExecute, not {effect!r}")
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield wrong("tolerationSeconds", "is for the effect NoExecute only")


def _check_dra(dra: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if not DNS_SUBDOMAIN.fullmatch(dra["driverName"]):
        message = f"{dra['driverName']!r} is no DNS subdomain"
        yield Problem(path=(*path, "driverName"), code="dra", message=message)
    seen = set()
    for number, item in enumerate(dra.get("deviceClasses") or ()):
        place = (*path, "deviceClasses", number, "name")
        if not DNS_SUBDOMAIN.fullmatch(item["name"]):
            yield Problem(path=place, code="dra", message=f"{item['name']!r} is no DNS subdomain")
        if item["name"] in seen:
            yield Problem(path=place, code="dra", message=f"{item['name']!r} is given twice")
        seen.add(item["name"])


def _check_pod_container(container: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """Check what KMM lets pass, and Kubernetes refuses in the pods that KMM makes of it; quantities both refuse."""
    for part, wanted in (("env", ("name",)), ("volumeMounts", ("name", "mountPath"))):
        for number, item in enumerate(container.get(part) or ()):
            for name in wanted:
                if not item[name]:
                    yield Problem(path=(*path, part, number, name), code="missing", message="is empty")
    resources = container.get("resources")
    for part in ("limits", "requests"):
        amounts = resources.get(part) if isinstance(resources, dict) else None
        for name, amount in amounts.items() if isinstance(amounts, dict) else ():
            if isinstance(amount, bool) or not _QUANTITY.fullmatch(str(amount)):
                message = f"{amount!r} is no quantity, such as 100m or 64Mi"
                yield Problem(path=(*path, "resources", part, name), code="quantity", message=message)


def _check_volumes(volumes: Sequence[Any], path: Path, version: KmmVersion) -> Iterator[Problem]:
    for number, volume in enumerate(volumes):
        if not volume["name"]:
            yield Problem(path=(*path, number, "name"), code="missing", message="is empty")
        yield from _check_host_path(volume.get("hostPath"), (*path, number, "hostPath", "path"), version)


def _check_host_path(host: Any, path: Path, version: KmmVersion) -> Iterator[Problem]:
    allowed = _HOST_PATHS.get(version)
    if not isinstance(host, dict) or allowed is None:
        return
    # Go's filepath.Clean: unlike POSIX, it knows no second root that begins with two slashes.
    place = posixpath.normpath("/" + str(host.get("path")).lstrip("/"))
    if not any(place == prefix or place.startswith(f"{prefix}/") for prefix in allowed):
        message = f"{place} is not allowed: KMM {version} takes paths below {', '.join(allowed)}"
        yield Problem(path=path, code="host-path", message=message)
