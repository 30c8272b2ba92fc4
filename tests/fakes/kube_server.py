"""An API server in memory for fast tests: what a client sends, as requests, and what it is answered."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import TYPE_CHECKING, Any

import httpx2
from kmod_operator.cluster.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

GROUP = "drivers.example.com"
KINDS: dict[str, dict[str, tuple[str, bool]]] = {
    "v1": {"Node": ("nodes", False), "ConfigMap": ("configmaps", True), "ServiceAccount": ("serviceaccounts", True)},
    "apps/v1": {"DaemonSet": ("daemonsets", True)},
    "kmm.sigs.x-k8s.io/v1beta1": {"Module": ("modules", True)},
    f"{GROUP}/v1alpha1": {"KernelDriver": ("kerneldrivers", False)},
    "machineconfiguration.openshift.io/v1": {"MachineConfigPool": ("machineconfigpools", False)},
}


class FakeServer:
    """Keeps objects by path.

    Attributes:
        kinds: what it has.
        refuse: asked before each request: method and path; a response is the answer.
        asked: method and path of all requests.
        watches: changes that watches of a path are told, in their order; None ends one.
    """

    def __init__(self) -> None:
        self.kinds = copy.deepcopy(KINDS)
        self.refuse: Callable[[httpx2.Request], httpx2.Response | None] = lambda _: None
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.items: dict[str, dict[str, Any]] = {}
        self.watches: dict[str, asyncio.Queue[dict[str, Any] | None]] = {}
        self.version = 100

    @property
    def client(self) -> Client:
        transport = httpx2.MockTransport(self._handle)
        return Client(httpx2.AsyncClient(transport=transport, base_url="http://api.example.com"))

    def put(self, path: str, item: dict[str, Any]) -> dict[str, Any]:
        """Have an object there."""
        self.version += 1
        metadata = {"uid": f"uid-{path}", **item["metadata"], "resourceVersion": str(self.version)}
        self.items[path] = {**item, "metadata": metadata}
        return self.items[path]

    def writes(self) -> list[tuple[str, str]]:
        return [one for one in self.asked if one[0] != "GET"]

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        self.asked.append((request.method, path))
        self.bodies.append(json.loads(request.content) if request.content else None)
        if (found := self.refuse(request)) is not None:
            return found
        if request.url.params.get("watch") == "true":
            return httpx2.Response(200, content=self._stream(path))
        if request.method == "GET":
            return self._get(path)
        return self._write(request, path)

    async def _stream(self, path: str) -> AsyncIterator[bytes]:
        queue = self.watches.setdefault(path, asyncio.Queue())
        while (change := await queue.get()) is not None:
            yield json.dumps(change).encode() + b"\n"

    def _get(self, path: str) -> httpx2.Response:
        if path == "/apis":
            groups = [{"versions": [{"groupVersion": api}]} for api in self.kinds if "/" in api]
            return httpx2.Response(200, json={"groups": groups})
        api = path.removeprefix("/apis/").removeprefix("/api/")
        if api in self.kinds:
            found = [
                {"kind": kind, "name": plural, "namespaced": namespaced}
                for kind, (plural, namespaced) in self.kinds[api].items()
            ]
            return httpx2.Response(200, json={"resources": found})
        if path in self.items:
            return httpx2.Response(200, json=self.items[path])
        plurals = {plural for kinds in self.kinds.values() for plural, _ in kinds.values()} | {
            "leases",
            "events",
            "pods",
        }
        if path.rpartition("/")[2] in plurals:
            items = [item for name, item in self.items.items() if name.rpartition("/")[0] == path]
            return httpx2.Response(200, json={"items": items, "metadata": {"resourceVersion": str(self.version)}})
        return refusal(404, "not found")

    def _write(self, request: httpx2.Request, path: str) -> httpx2.Response:
        body = json.loads(request.content)
        if request.method == "DELETE":
            return httpx2.Response(200, json=self.items.pop(path)) if path in self.items else refusal(404, "not found")
        if request.method == "POST":
            name = body["metadata"].get("name", "")
            if f"{path}/{name}" in self.items:
                return refusal(409, "it is there already")
            return httpx2.Response(201, json=self.put(f"{path}/{name}", body))
        is_status = path.endswith("/status")
        place = path.removesuffix("/status")
        there = self.items.get(place, {"metadata": {}})
        version = body["metadata"].get("resourceVersion")
        if version and version != there["metadata"].get("resourceVersion"):
            return refusal(409, "it was changed")
        if request.method == "PUT":
            return httpx2.Response(200, json=self.put(place, body))
        merged = {**there, "status": body["status"]} if is_status else merge(there, body)
        if "apply" in request.headers["Content-Type"] and not is_status:
            entry = {"manager": "kmod-operator", "operation": "Apply", "fieldsV1": {"f:spec": {}}}
            merged["metadata"]["managedFields"] = [entry]
        return httpx2.Response(200, json=self.put(place, merged))


def refusal(status: int, words: str, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, json={"kind": "Status", "message": words, "code": status}, headers=headers)


def failing(error: Exception) -> Callable[[httpx2.Request], httpx2.Response]:
    """Return a server that is not reached, or breaks off."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        raise error

    return answer


async def never_answering(_: httpx2.Request) -> httpx2.Response:
    await asyncio.sleep(60)
    raise AssertionError


def merge(there: Any, change: Any) -> Any:
    """Return JSON with a change merged into it, by RFC 7396."""
    if not isinstance(change, dict):
        return change
    found = dict(there) if isinstance(there, dict) else {}
    for name, value in change.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merge(found.get(name), value)
    return found
