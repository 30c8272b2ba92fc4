"""What an operator was made for: the vendor's drivers, as ``emit operator`` wrote them. Pure.

The file that the operator's pod has (``KMOD_TEMPLATES``, JSON)::

    {"format": 1, "group": "drivers.example.com", "version": "v1alpha1", "kind": "KernelDriver",
     "plural": "kerneldrivers", "namespace": "kmod-operator", "keys": ["-----BEGIN PUBLIC KEY-----..."],
     "drivers": {"ptemplate": {"namespace": "ptemplate", "module": {...}, "plugin": [...], "rules": [...],
                               "resource": "drivers.example.com/ptemplate", "smoke": {...}}}}

Accounts, roles, namespaces and security context constraints are in none of it: who makes those could make itself
anything, so they are applied by an administrator, and the operator has no right to write them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmod_operator.rollout.world import Object

FORMAT = 1
CONFIG_MAP, KEY = "operator-templates", "templates.json"
"""Where it is in the cluster, in the operator's namespace."""
LARGEST_BYTES = 4 * 1024 * 1024
_DEEPEST = 64
_MOST = 256
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_RULE_KIND = re.compile(r"nfd\.(k8s-sigs|openshift)\.io/v1(alpha1)?")


class TemplateError(Exception):
    """The file of templates is none that ``emit operator`` wrote; the message says where, and what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverTemplate:
    """Objects of a driver as they are before a cluster is known.

    Attributes:
        namespace: where they are.
        module: KMM's Module, with one version and no mappings.
        plugin: what tells kubelet of devices: a DaemonSet. Its account, and on OpenShift the constraint that it runs
            under, are an administrator's.
        rules: NodeFeatureRules of NFD; none where the driver names no device.
        resource: what pods ask for; empty where the driver has no device plugin.
        smoke: a pod that asks for one device and tries it; None where the driver has none.
    """

    namespace: str
    module: Object
    plugin: Sequence[Object] = ()
    rules: Sequence[Object] = ()
    resource: str = ""
    smoke: Object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """All that an operator was made for, by driver; ``keys`` are the vendor's, PEM: who may sign an index."""

    group: str
    version: str
    kind: str
    plural: str
    namespace: str
    keys: Sequence[str]
    drivers: Mapping[str, DriverTemplate]


def read_templates(content: bytes) -> Templates:
    """Return what an operator was made for; fields that are not known are of a later release, and are left alone.

    Raises:
        TemplateError: the file is something else; nothing of it is used then.
    """
    data = _map(_parse(content), "the file")
    if data.get("format") != FORMAT or isinstance(data.get("format"), bool):
        raise TemplateError(
            f"format is {data.get('format')!r:.60}, and this operator reads format {FORMAT}: take templates and image "
            "of one release"
        )
    drivers = _map(data.get("drivers"), "drivers")
    if not 0 < len(drivers) <= _MOST:
        raise TemplateError(f"drivers has {len(drivers)} entries; it has 1 to {_MOST}")
    keys = _list(data.get("keys"), "keys")
    if not keys:
        raise TemplateError("keys is empty: nobody could sign an index that is believed")
    return Templates(
        group=_text(data, "group", "", _DOMAIN),
        version=_text(data, "version", "", _NAME),
        kind=_text(data, "kind", "", _WORD),
        plural=_text(data, "plural", "", _WORD),
        namespace=_text(data, "namespace", "", _NAME),
        keys=tuple(_key(key, f"keys[{number}]") for number, key in enumerate(keys)),
        drivers={name: _driver(name, found) for name, found in drivers.items()},
    )


def _driver(name: str, found: Any) -> DriverTemplate:
    where = f"drivers.{name:.60}"
    if not _NAME.fullmatch(name):
        raise TemplateError(f"{where} is no name: small letters, digits, '-' and '.'")
    data = _map(found, where)
    namespace = _text(data, "namespace", f"{where}.", _NAME)
    module = _object(data.get("module"), f"{where}.module", namespace)
    if (module["apiVersion"], module["kind"]) != ("kmm.sigs.x-k8s.io/v1beta1", "Module"):
        raise TemplateError(f"{where}.module is a {_called(module)}, and no Module of kmm.sigs.x-k8s.io/v1beta1")
    _inner(module, f"{where}.module", "spec", "moduleLoader", "container")
    _texts(_inner(module, f"{where}.module", "spec", "selector"), f"{where}.module.spec.selector")
    plugin, rules = (_objects(data, key, where) for key in ("plugin", "rules"))
    for number, item in enumerate(plugin):
        is_set = (item["apiVersion"], item["kind"]) == ("apps/v1", "DaemonSet")
        if not is_set or item["metadata"].get("namespace") != namespace:
            raise TemplateError(f"{where}.plugin has a {_called(item)}: it has DaemonSets of namespace {namespace}")
        for steps in (("spec", "selector"), ("spec", "template", "spec")):
            _inner(item, f"{where}.plugin[{number}]", *steps)
    for item in rules:
        if item["kind"] != "NodeFeatureRule" or not _RULE_KIND.fullmatch(item["apiVersion"]):
            raise TemplateError(f"{where}.rules has a {_called(item)}: it has NodeFeatureRules")
    resource = data.get("resource", "")
    if not isinstance(resource, str) or (resource and not re.fullmatch(r"[a-z0-9.-]+/[A-Za-z0-9._-]+", resource)):
        raise TemplateError(f"{where}.resource is {resource!r:.60}, and no resource such as drivers.example.com/name")
    smoke = _smoke(data, where, namespace, resource)
    return DriverTemplate(
        namespace=namespace, module=module, plugin=plugin, rules=rules, resource=resource, smoke=smoke
    )


def _smoke(data: Mapping[str, Any], where: str, namespace: str, resource: str) -> Object | None:
    """Return the pod of smoke tests: one that could wait for ever, or asks for no device, would try nothing."""
    if data.get("smoke") is None:
        return None
    where = f"{where}.smoke"
    pod = _object(data["smoke"], where, namespace)
    if (pod["apiVersion"], pod["kind"]) != ("v1", "Pod"):
        raise TemplateError(f"{where} is a {_called(pod)}, and no Pod of v1")
    spec = _inner(pod, where, "spec")
    asked = [
        _map(_map(_map(one, where).get("resources", {}), where).get("limits", {}), where)
        for one in _list(spec.get("containers"), f"{where}.spec.containers")
    ]
    if not resource or not any(resource in limits for limits in asked):
        raise TemplateError(f"{where}.spec.containers has none that asks for {resource or 'a device'}")
    limit = spec.get("activeDeadlineSeconds")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1 or spec.get("restartPolicy") != "Never":
        raise TemplateError(f"{where}.spec has no activeDeadlineSeconds, or a restartPolicy that is not Never")
    if not isinstance(spec.get("tolerations", []), list):
        raise TemplateError(f"{where}.spec.tolerations is no list")
    return pod


def _objects(data: Mapping[str, Any], key: str, where: str) -> tuple[Object, ...]:
    found = _list(data.get(key, []), f"{where}.{key}")
    return tuple(_object(item, f"{where}.{key}[{number}]") for number, item in enumerate(found))


def _object(found: Any, where: str, namespace: str = "") -> dict[str, Any]:
    item = _map(found, where)
    metadata = _map(item.get("metadata"), f"{where}.metadata")
    for key in ("apiVersion", "kind"):
        if not isinstance(item.get(key), str):
            raise TemplateError(f"{where}.{key} is {item.get(key)!r:.60}, and no text")
    _text(metadata, "name", f"{where}.metadata.", _NAME)
    _texts(_map(metadata.get("labels", {}), f"{where}.metadata.labels"), f"{where}.metadata.labels")
    if "namespace" in metadata:
        _text(metadata, "namespace", f"{where}.metadata.", _NAME)
    if namespace and metadata.get("namespace") != namespace:
        raise TemplateError(f"{where} is in namespace {metadata.get('namespace')!r:.60}, and not in {namespace}")
    return item


def _inner(item: Mapping[str, Any], where: str, *steps: str) -> Mapping[str, Any]:
    """Return a mapping in an object, which is there."""
    for step in steps:
        where = f"{where}.{step}"
        item = _map(item.get(step), where)
    return item


def _texts(found: Mapping[str, Any], where: str) -> None:
    for key, value in found.items():
        if not isinstance(value, str):
            raise TemplateError(f"{where} has {value!r:.60} for {key!r:.60}, and no text")


def _called(item: Object) -> str:
    return f"{item['kind']} of {item['apiVersion']}"[:100]


def _key(found: Any, where: str) -> str:
    if not isinstance(found, str) or not found.lstrip().startswith("-----BEGIN PUBLIC KEY-----"):
        raise TemplateError(f"{where} is no public key in PEM: it begins with {str(found)[:30]!r}")
    return found


def _parse(content: bytes) -> Any:
    if len(content) > LARGEST_BYTES:
        raise TemplateError(f"it has {len(content)} bytes, and may have {LARGEST_BYTES}")
    try:
        data = json.loads(content.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise TemplateError(f"it is nested deeper than {_DEEPEST} levels") from None
    except ValueError as error:  # also UnicodeDecodeError, and numbers of thousands of digits
        raise TemplateError(f"it is no JSON: {str(error)[:200]}") from None
    if _depth(data) > _DEEPEST:
        raise TemplateError(f"it is nested deeper than {_DEEPEST} levels")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise TemplateError(f"it says {twice!r:.60} twice in one place, and what counts would be a guess")
    return found


def _no_number(word: str) -> Any:
    raise TemplateError(f"it has {word}, which is no number of JSON")


def _depth(data: Any) -> int:
    level, depth = [data], 0
    while level and depth <= _DEEPEST:
        inner: list[Any] = []
        for item in level:
            inner += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        level, depth = inner, depth + 1
    return depth


def _map(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TemplateError(f"{where} is {'absent' if found is None else f'{found!r:.60}, and no mapping'}")
    return found


def _list(found: Any, where: str) -> list[Any]:
    if not isinstance(found, list):
        raise TemplateError(f"{where} is {'absent' if found is None else f'{found!r:.60}, and no list'}")
    if len(found) > _MOST:
        raise TemplateError(f"{where} has {len(found)} items, and may have {_MOST}")
    return found


def _text(data: Mapping[str, Any], key: str, where: str, form: re.Pattern[str]) -> str:
    found = data.get(key)
    if not isinstance(found, str) or not form.fullmatch(found):
        raise TemplateError(f"{where}{key} is {'absent' if found is None else f'{found!r:.60}, which it cannot be'}")
    return found
