"""What is known of devices. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the Container Device Interface takes as a name; kubelet takes more.
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, kw_only=True, order=True)
class Device:
    """A device of this node.

    Attributes:
        id: its name, the same after a reboot, a rescan or a new load of the module: kubelet remembers pods by it.
        path: where the kernel shows it, for the source's own use.
    """

    id: str
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class Health:
    """How well a device is, and why; the reason is a sentence for whoever runs the cluster."""

    well: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class DeviceNode:
    """A file below /dev that a container gets. Numbers are the runtime's to look up: they change with each load."""

    path: str
    permissions: str = "rw"


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A file or folder of the node that a container gets, read-only."""

    host_path: str
    container_path: str


class Version(str):
    """A semantic version among properties: resource slices compare it as one, not as text."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a container gets with a device, and where the device is.

    Attributes:
        numa_node: the kernel's number; nothing where the kernel does not say.
        properties: what is worth telling of it, for resource slices: whole numbers, truth, short text, ``Version``.
    """

    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    numa_node: int | None = None
    properties: Mapping[str, str | int | bool] = field(default_factory=dict)

    @property
    def gives_something(self) -> bool:
        """Whether a container gets anything with it."""
        return bool(self.nodes or self.mounts or self.environment)


def is_device_id(text: object) -> bool:
    """Tell whether a name can be a device's, for kubelet and for the Container Device Interface.

    Source of the form: the specification of CDI, "device name".
    """
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def is_text(value: str) -> bool:
    """Tell whether it can be sent: Python's text may hold halves of characters, as of names that are not UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
