"""What the API server of a saved cluster would have said. Pure.

What was not saved is not absent: that a kind is absent is believed only where definitions of kinds were saved, too, and
there is none of it; else it is said that it is not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kmod_operator.rollout.world import Object

_DEFINITION = "CustomResourceDefinition"
# Which each server has: that none was saved says nothing of a node or a pod, and is taken for "none" of the others.
_BUILT_IN = {"v1 Node": False, "v1 Pod": True, "v1 ConfigMap": True, "apps/v1 DaemonSet": True}
_NEEDED = ("v1 Node", "v1 Pod")
_OBJECT = re.compile(r"/(?:api|apis/([^/]+))/([^/]+)(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?")
_NO_SECRETS = "secrets are read of no saved cluster"
_OK, _FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED, _UNAVAILABLE = 200, 403, 404, 405, 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status of HTTP, and a body."""

    status: int
    body: Mapping[str, Any]


class SavedCluster:
    """All that was saved.

    Args:
        objects: each with ``apiVersion``, ``kind`` and ``metadata.name``; of two of the same name the last counts.
        asked: kinds that will be asked for, ``group/version Kind``.
    """

    def __init__(self, objects: Iterable[Object], asked: Iterable[str]) -> None:
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._namespaced = dict(_BUILT_IN)
        self._defined: set[str] = set()
        for item in objects:
            name = f"{item['apiVersion']} {item['kind']}"
            place = str(item["metadata"].get("namespace") or "")
            self._objects.setdefault(name, {})[place, item["metadata"]["name"]] = item
            self._namespaced[name] = self._namespaced.get(name, False) or bool(place)
            if item["kind"] == _DEFINITION:
                self._define(item)
        self._unknown = {
            name
            for name in {*asked, *_BUILT_IN} - self._objects.keys() - self._defined
            if (name in _NEEDED) or (name not in _BUILT_IN and not self._defined)
        }
        kinds = {*self._objects, *self._defined, *self._unknown, *_BUILT_IN}
        self._kinds = {(name.partition(" ")[0], _plural(name)): name for name in kinds}

    @property
    def saved_at(self) -> datetime | None:
        """When a node was heard last, by the conditions of all nodes; None where none says it."""
        times = [
            _time(condition.get("lastHeartbeatTime"))
            for item in self._objects.get("v1 Node", {}).values()
            for condition in _list(_map(item.get("status")).get("conditions"))
            if isinstance(condition, dict)
        ]
        return max((time for time in times if time is not None), default=None)

    def find(self, name: str, namespace: str, called: str) -> Object | None:
        """Return an object of a kind, ``group/version Kind``."""
        return self._objects.get(name, {}).get((namespace, called))

    def answer(self, method: str, path: str, query: Mapping[str, str]) -> Answer:
        """Return what is answered to a request; a watch hears nothing, which is not said here."""
        if method != "GET":
            return _refuse(_NOT_ALLOWED, "nothing is written into a saved cluster, and nobody's rights are in it")
        if path == "/apis":
            apis = sorted({api for api, _ in self._kinds if "/" in api})
            return Answer(status=_OK, body={"groups": [{"versions": [{"groupVersion": api}]} for api in apis]})
        api = path.removeprefix("/apis/") if path.startswith("/apis/") else path.removeprefix("/api/")
        if found := [(plural, name) for (one, plural), name in sorted(self._kinds.items()) if one == api]:
            return Answer(status=_OK, body={"resources": [self._resource(*one) for one in found]})
        return self._of_objects(path, query)

    def _of_objects(self, path: str, query: Mapping[str, str]) -> Answer:
        if not (parts := _OBJECT.fullmatch(path)):
            return _refuse(_NOT_FOUND, f"{path} is nothing that was saved")
        group, version, namespace, plural, called = parts.groups(default="")
        if plural == "secrets":
            return _refuse(_FORBIDDEN, _NO_SECRETS)
        name = self._kinds.get((f"{group}/{version}" if group else version, plural), "")
        if not name:
            return _refuse(_NOT_FOUND, f"{path} is nothing that was saved")
        if name in self._unknown:
            api, _, kind = name.partition(" ")
            return _refuse(_UNAVAILABLE, f"nothing of {kind} ({api}) was saved, so whether there is any is not known")
        if called:
            found = self._objects.get(name, {}).get((namespace, called))
            return Answer(status=_OK, body=found) if found else _refuse(_NOT_FOUND, f"no {name} of that name was saved")
        items = [
            _numbered(item)
            for (place, _), item in self._objects.get(name, {}).items()
            if namespace in {"", place} and _is_chosen(item, query)
        ]
        return Answer(status=_OK, body={"items": items, "metadata": {"resourceVersion": "1"}})

    def _resource(self, plural: str, name: str) -> dict[str, Any]:
        return {"kind": name.partition(" ")[2], "name": plural, "namespaced": self._namespaced.get(name, True)}

    def _define(self, item: Object) -> None:
        spec = _map(item.get("spec"))
        names = _map(spec.get("names"))
        for version in _list(spec.get("versions")):
            if _map(version).get("served") is not False:
                name = f"{spec.get('group')}/{_map(version).get('name')} {names.get('kind')}"
                self._defined.add(name)
                self._namespaced[name] = spec.get("scope") != "Cluster"


def _plural(name: str) -> str:
    """Return a word for paths: who asks is told which."""
    return f"{name.partition(' ')[2].lower()}s"


def _numbered(item: Object) -> dict[str, Any]:
    metadata = {"resourceVersion": "1", **item["metadata"]}
    return {**item, "metadata": metadata}


def _is_chosen(item: Object, query: Mapping[str, str]) -> bool:
    labels = _map(item["metadata"].get("labels"))
    wanted = [word.partition("=") for word in query.get("labelSelector", "").split(",") if word]
    if not all(labels.get(key) == value for key, _, value in wanted):
        return False
    fields = {
        "metadata.name": item["metadata"]["name"],
        "spec.nodeName": _map(item.get("spec")).get("nodeName"),
    }
    chosen = [word.partition("=") for word in query.get("fieldSelector", "").split(",") if word]
    return all(fields.get(key) == value for key, _, value in chosen)


def _refuse(status: int, words: str) -> Answer:
    return Answer(status=status, body={"kind": "Status", "message": words, "code": status})


def _time(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []
