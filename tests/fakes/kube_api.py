"""An API server for fast tests: what a driver asks of it, with versions of objects, and refusals that are told to it."""

from __future__ import annotations

import copy
from typing import Any

from kmod_operator.kubernetes.errors import CONFLICT, NOT_FOUND, ApiError

UID = "00000000-aaaa"


class FakeApi:
    """Keeps slices and claims.

    Attributes:
        has_slices: whether it knows resource.k8s.io/v1.
        keeps_taints: whether it takes taints of devices; one that does not leaves them out and says nothing.
        refuses: what it raises, by the name of the question.
        asked: names of all questions, in their order.
    """

    def __init__(self) -> None:
        self.has_slices = True
        self.keeps_taints = True
        self.refuses: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.items: dict[str, dict[str, Any]] = {}
        self.claims: dict[tuple[str, str], Any] = {}
        self.uid = UID
        self._version = 0

    @property
    def writes(self) -> list[str]:
        return [name for name in self.asked if name in {"create", "replace", "delete"}]

    def devices(self) -> dict[str, dict[str, Any]]:
        """Return the devices of the newest whole pool, as the scheduler sees them."""
        pools = [item["spec"]["pool"] for item in self.items.values()]
        newest = max((pool["generation"] for pool in pools), default=0)
        members = [item for item in self.items.values() if item["spec"]["pool"]["generation"] == newest]
        assert all(item["spec"]["pool"]["resourceSliceCount"] == len(members) for item in members)
        return {device["name"]: device for item in members for device in item["spec"]["devices"]}

    def generation(self) -> int:
        return max((item["spec"]["pool"]["generation"] for item in self.items.values()), default=0)

    def allocate(self, name: str, *devices: str, **changes: Any) -> str:
        """Make a claim that has these devices; returns its UID."""
        result = {"request": "one", "driver": "ptemplate.drivers.example.com", "pool": "worker"}
        results = [result | {"device": device} | changes for device in devices]
        self.claims["default", name] = {
            "metadata": {"name": name, "uid": f"uid-{name}"},
            "status": {"allocation": {"devices": {"results": results}}},
        }
        return f"uid-{name}"

    async def node_uid(self) -> str:
        self._ask("node_uid")
        return self.uid

    async def slices(self) -> list[dict[str, Any]]:
        self._ask("slices")
        if not self.has_slices:
            raise ApiError("the API server answers 404: 404 page not found", status=NOT_FOUND)
        return copy.deepcopy(list(self.items.values()))

    async def create(self, item: dict[str, Any]) -> dict[str, Any]:
        self._ask("create")
        if item["metadata"]["name"] in self.items:
            raise ApiError("it exists", status=CONFLICT)
        return self._keep(item)

    async def replace(self, item: dict[str, Any]) -> dict[str, Any]:
        self._ask("replace")
        old = self.items.get(item["metadata"]["name"])
        if old is None:
            raise ApiError("it is gone", status=NOT_FOUND)
        if old["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            raise ApiError("it was changed", status=CONFLICT)
        return self._keep(item)

    async def delete(self, name: str) -> None:
        self._ask("delete")
        self.items.pop(name, None)

    async def claim(self, namespace: str, name: str) -> Any:
        self._ask("claim")
        try:
            return self.claims[namespace, name]
        except KeyError:
            raise ApiError(f"the claim {namespace}/{name} cannot be read: 404", status=NOT_FOUND) from None

    def _ask(self, name: str) -> None:
        self.asked.append(name)
        if name in self.refuses:
            raise self.refuses[name]

    def _keep(self, item: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        kept = copy.deepcopy(item)
        kept["metadata"]["resourceVersion"] = str(self._version)
        kept["metadata"]["managedFields"] = [{"manager": "python"}]
        for device in kept["spec"]["devices"]:
            if not self.keeps_taints:
                device.pop("taints", None)
            for taint in device.get("taints", ()):
                taint.setdefault("timeAdded", f"2026-01-01T00:00:{self._version:02}Z")
        assert len(kept["spec"]["devices"]) <= 128
        self.items[kept["metadata"]["name"]] = kept
        return copy.deepcopy(kept)
