"""What the container runtime is told of devices: one file of the Container Device Interface for a node. Pure.

Source of the form: the specification of CDI, version 0.6.0, https://github.com/cncf-tags/container-device-interface.
Device numbers are left out: the runtime looks them up when a container starts, and they change when a module is loaded
again. So the file is right after a reboot, and there is no other state that could be wrong.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kmod_operator.devices.model import Description

_VERSION = "0.6.0"


def cdi_file_name(kind: str) -> str:
    """Return the name of a kind's file; ``kind`` is ``vendor.example/class``."""
    return f"{kind.replace('/', '-')}.json"


def cdi_name(kind: str, device: str) -> str:
    """Return the whole name by which kubelet asks the runtime for a device."""
    return f"{kind}={device}"


def cdi_spec(kind: str, devices: Iterable[tuple[str, Description]]) -> str:
    """Return the file's content; nothing but devices decides it.

    A device with which a container gets nothing is left out: for its sake the runtime would leave out the whole file.
    """
    listed = [
        {"name": name, "containerEdits": _edits(description)}
        for name, description in sorted(devices, key=_name)
        if description.gives_something
    ]
    return json.dumps({"cdiVersion": _VERSION, "kind": kind, "devices": listed}, indent=1, sort_keys=True) + "\n"


def _name(entry: tuple[str, Description]) -> str:
    return entry[0]


def _edits(description: Description) -> Mapping[str, Any]:
    edits: dict[str, Any] = {}
    if description.nodes:
        edits["deviceNodes"] = [{"path": node.path, "permissions": node.permissions} for node in description.nodes]
    if description.mounts:
        edits["mounts"] = [
            {"hostPath": mount.host_path, "containerPath": mount.container_path, "options": ["ro", "bind"]}
            for mount in description.mounts
        ]
    if description.environment:
        edits["env"] = [f"{name}={value}" for name, value in sorted(description.environment.items())]
    return edits
