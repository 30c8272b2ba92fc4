"""Which slices a node's devices need, and what has to be written for that. Pure.

A pool is all devices of one driver on one node. Its slices carry one number, the generation, and how many they are: the
scheduler uses a pool only when it has all slices of the highest generation, so a change of one is a change of all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kmod_operator.dra.offers import Offer

Slice = dict[str, Any]
"""A ResourceSlice as the API gives and takes it."""

_VERSION = "resource.k8s.io/v1"
# 128 are allowed; from Kubernetes 1.35 on 64 where one device has a taint, and devices do not move when one gets one.
_MOST_DEVICES = 64
_LONGEST_NAME = 253
_HASHED = 10


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Whose devices they are."""

    driver: str
    node: str
    node_uid: str = ""


@dataclass(frozen=True, kw_only=True)
class Writes:
    """What has to be written, in this order; nothing where all is as it should be.

    Attributes:
        generation: that of the pool afterwards.
    """

    replace: Sequence[Slice] = field(default=())
    create: Sequence[Slice] = field(default=())
    delete: Sequence[str] = field(default=())
    generation: int = 0

    def __bool__(self) -> bool:
        return bool(self.replace or self.create or self.delete)


def slice_devices(offers: Iterable[Offer], driver: str, *, keeps_taints: bool) -> list[dict[str, Any]]:
    """Return devices as they stand in slices.

    One that is not healthy stays listed with a taint, which keeps new pods away and says so to whoever looks. Where the
    API server keeps no taints it is left out: listed, it would be given. A device that is gone is not listed.
    """
    listed = []
    for offer in sorted(offers, key=lambda offer: offer.name):
        if not offer.present or not (offer.well or keeps_taints):
            continue
        device: dict[str, Any] = {"name": offer.name}
        if offer.attributes:
            device["attributes"] = {name: dict(value) for name, value in offer.attributes.items()}
        if not offer.well:
            device["taints"] = [{"key": taint_key(driver), "value": "true", "effect": "NoSchedule"}]
        listed.append(device)
    return listed


def taint_key(driver: str) -> str:
    """Return the key of the taint of devices that are not healthy."""
    return f"{driver}/unhealthy"


def slice_name(pool: Pool, number: int) -> str:
    """Return a slice's name: the same each time, so that a write that was lost makes no second slice."""
    digest = hashlib.sha256(f"{pool.node}\n{pool.driver}".encode()).hexdigest()[:_HASHED]
    tail = f"-{digest}-{number}"
    # A name in the API ends its words with a letter or digit.
    head = f"{pool.node}-{pool.driver}"[: _LONGEST_NAME - len(tail)].rstrip("-.")
    return f"{head}{tail}"


def plan_writes(stored: Sequence[Slice], devices: Sequence[Mapping[str, Any]], pool: Pool, *, after: int = 0) -> Writes:
    """Return what makes the stored slices of this driver on this node say these devices.

    Args:
        stored: all slices of the driver and node that the API has, as it gives them.
        devices: as they stand in slices.
        pool: whose they are.
        after: a generation that was written before, though its slices may be gone.
    """
    parts = [list(devices[start : start + _MOST_DEVICES]) for start in range(0, len(devices), _MOST_DEVICES)]
    wanted = {slice_name(pool, number): part for number, part in enumerate(parts)}
    kept = {name: one for one in stored if (name := _get(one, "metadata", "name")) in wanted and _is_of(one, pool)}
    stale = [str(name) for one in stored if (name := _get(one, "metadata", "name")) not in kept]
    now = max([after, *(_generation(one) for one in stored)])
    if not stale and kept.keys() == wanted.keys() and _says(kept, wanted, pool):
        return Writes(generation=now)
    fresh = now + 1
    stamps = _stamps(stored)
    bodies = {
        name: _slice(name, _stamped(part, stamps), pool, generation=fresh, count=len(parts))
        for name, part in wanted.items()
    }
    return Writes(
        replace=[_over(kept[name], body) for name, body in bodies.items() if name in kept],
        create=[body for name, body in bodies.items() if name not in kept],
        delete=stale,
        generation=fresh,
    )


def keeps_taints(sent: Slice, answer: Slice) -> bool:
    """Tell whether an API server took the taints of devices: one that does not know them leaves them out."""
    return _tainted(sent) <= _tainted(answer)


def _tainted(one: Slice) -> set[str]:
    return {str(device.get("name")) for device in _devices(one) if device.get("taints")}


def _slice(name: str, devices: list[dict[str, Any]], pool: Pool, *, generation: int, count: int) -> Slice:
    return {
        "apiVersion": _VERSION,
        "kind": "ResourceSlice",
        "metadata": {"name": name, "ownerReferences": [_owner(pool)]},
        "spec": {
            "driver": pool.driver,
            "nodeName": pool.node,
            "pool": {"name": pool.node, "generation": generation, "resourceSliceCount": count},
            "devices": devices,
        },
    }


def _owner(pool: Pool) -> dict[str, Any]:
    """Name the node as the owner, so that its slices go when it goes."""
    return {"apiVersion": "v1", "kind": "Node", "name": pool.node, "uid": pool.node_uid, "controller": True}


def _over(old: Slice, body: Slice) -> Slice:
    """Return a body that replaces what was read, and nothing newer than that."""
    metadata = {name: value for name, value in old["metadata"].items() if name != "managedFields"}
    return body | {"metadata": metadata | body["metadata"]}


def _is_of(one: Slice, pool: Pool) -> bool:
    """Tell whether what cannot be changed in a slice is as it should be."""
    spec = _get(one, "spec")
    return (_get(spec, "driver"), _get(spec, "nodeName"), _get(spec, "pool", "name")) == (
        pool.driver, pool.node, pool.node,
    )  # fmt: skip


def _says(kept: Mapping[str, Slice], wanted: Mapping[str, list[Mapping[str, Any]]], pool: Pool) -> bool:
    generations = {_generation(one) for one in kept.values()}
    return len(generations) <= 1 and all(
        [_plain(device) for device in _devices(one)] == wanted[name]
        and _get(one, "spec", "pool", "resourceSliceCount") == len(wanted)
        and _get(one, "metadata", "ownerReferences") == [_owner(pool)]
        for name, one in kept.items()
    )


def _plain(device: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored device without what the server added."""
    plain = dict(device)
    taints = plain.get("taints")
    if isinstance(taints, list):
        plain["taints"] = [
            {name: value for name, value in taint.items() if name != "timeAdded"}
            for taint in taints
            if isinstance(taint, dict)
        ]
    return plain


def _stamps(stored: Iterable[Slice]) -> dict[tuple[str, str], str]:
    """Return since when devices have taints: a change of another device does not begin that anew."""
    return {
        (str(device.get("name")), str(taint.get("key"))): str(taint["timeAdded"])
        for one in stored
        for device in _devices(one)
        for taint in (device["taints"] if isinstance(device.get("taints"), list) else ())
        if isinstance(taint, dict) and taint.get("timeAdded")
    }


def _stamped(devices: Iterable[Mapping[str, Any]], stamps: Mapping[tuple[str, str], str]) -> list[dict[str, Any]]:
    stamped = []
    for device in devices:
        copy = dict(device)
        if "taints" in copy:
            copy["taints"] = [
                taint | ({"timeAdded": stamp} if (stamp := stamps.get((copy["name"], taint["key"]))) else {})
                for taint in copy["taints"]
            ]
        stamped.append(copy)
    return stamped


def _generation(one: Slice) -> int:
    found = _get(one, "spec", "pool", "generation")
    return found if isinstance(found, int) else 0


def _devices(one: Slice) -> list[dict[str, Any]]:
    found = _get(one, "spec", "devices")
    return [device for device in found if isinstance(device, dict)] if isinstance(found, list) else []


def _get(found: Any, *names: str) -> Any:
    """Return what lies below names, and nothing where something else lies on the way."""
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found
