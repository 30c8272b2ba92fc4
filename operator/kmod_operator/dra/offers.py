"""Devices as the resource API of Kubernetes takes them. Pure.

Source of the rules: k8s.io/kubernetes v1.34.4, pkg/apis/resource/validation/validation.go and types.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kmod_operator.devices.model import Version, is_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmod_operator.devices.inventory import Entry, Inventory

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}", re.ASCII)
_NUMBER = r"(?:0|[1-9][0-9]*)"
_PART = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PART}(?:\.{_PART})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?", re.ASCII
)
_LONGEST_VALUE = 64
_MOST_ATTRIBUTES = 32
_INT64 = 2**63
# The name that Kubernetes itself gives it, so that claims can ask for a device and a network card of one NUMA node.
_NUMA = "resource.kubernetes.io/numaNode"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A device under the name that the resource API knows it by.

    Attributes:
        name: a DNS label.
        id: its own name, which the container runtime knows.
        present: whether it is there; one that a pod has may be gone.
        attributes: as they stand in a slice.
    """

    name: str
    id: str
    well: bool
    reason: str = ""
    present: bool = True
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def offer(inventory: Inventory) -> tuple[list[Offer], list[str]]:
    """Return the devices of an inventory, and a sentence for each device or attribute that cannot be told."""
    offers: dict[str, Offer] = {}
    refused = []
    for entry in inventory.entries.values():
        name = device_name(entry.device.id)
        if not name:
            refused.append(
                f"{entry.device.id!r:.100} cannot be a device's name in a resource slice: at most 63 characters"
            )
        elif name in offers:
            refused.append(
                f"{entry.device.id!r:.100} would have the name of {offers[name].id!r:.100} in a resource slice"
            )
        else:
            attributes, wrong = _attributes(entry)
            refused += wrong
            offers[name] = Offer(
                name=name,
                id=entry.device.id,
                well=entry.health.well,
                reason=entry.health.reason,
                present=entry.present,
                attributes=attributes,
            )
    return list(offers.values()), refused


def device_name(device: str) -> str:
    """Return the DNS label of a device: small letters, and ``-`` for ``.`` and ``_``; nothing where it is too long."""
    name = device.lower().replace(".", "-").replace("_", "-")
    return name if _NAME.fullmatch(name) else ""


def _attributes(entry: Entry) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    found: dict[str, Mapping[str, Any]] = {}
    wrong = []
    description = entry.description
    if description.numa_node is not None:
        found[_NUMA] = {"int": description.numa_node}
    for key, value in description.properties.items():
        name = str(key)
        told = _value(value)
        if not _ATTRIBUTE.fullmatch(name):
            wrong.append(
                f"{entry.device.id}: {name!r:.100} cannot be the name of an attribute: letters, digits, '_', at most 32"
            )
        elif told is None:
            wrong.append(
                f"{entry.device.id}: {name} is {value!r:.100}, which cannot be an attribute: whole numbers, truth, "
                "text of at most 64 characters, versions like 1.2.3"
            )
        elif len(found) == _MOST_ATTRIBUTES:
            wrong.append(f"{entry.device.id}: more than {_MOST_ATTRIBUTES} attributes: {name} is left out")
        else:
            found[name] = told
    return dict(sorted(found.items())), wrong


def _value(value: object) -> Mapping[str, Any] | None:
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, int):
        return {"int": value} if -_INT64 <= value < _INT64 else None
    if isinstance(value, str):
        is_version = isinstance(value, Version)
        if len(value.encode(errors="replace")) > _LONGEST_VALUE or not is_text(value):
            return None
        if is_version:
            return {"version": str(value)} if _VERSION.fullmatch(value) else None
        return {"string": value}
    return None
