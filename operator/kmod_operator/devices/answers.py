"""What a partner's class answers, held to what kubelet and the container runtime take. Pure.

The runtime leaves out a file of which one device is not as it should be, and with it all the others; a text that cannot
be sent ends the stream of all. So what one device says wrong is that device's, before it is told to anybody.

Source of the forms: the library of CDI, pkg/cdi/device.go and container-edits.go, whose "validate" decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kmod_operator.devices.model import Description, DeviceNode, Health, Mount, is_text

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATH = re.compile(r"/[^\0]*")
_PERMISSIONS = re.compile(r"[rwm]{1,3}")
_VARIABLE = re.compile(r"[^=\0]+")
_VALUE = re.compile(r"[^\0]*", re.DOTALL)
_MOST_NODES = 1024  # the most that Linux can be built for
_MOST_WORDS = 300


def sentence(text: str) -> str:
    """Return text as it can be told: on one line, not too long, without halves of characters."""
    line = " ".join(text.encode(errors="replace").decode().split())
    return line if len(line) <= _MOST_WORDS else f"{line[:_MOST_WORDS]}..."


def read_health(found: object) -> Health:
    """Return how well a device is.

    Raises:
        TypeError: it is no such answer.
    """
    if not isinstance(found, Health):
        raise TypeError(f"it returned {found!r:.100}, which is no Health")
    well: object = found.well  # what is declared binds nobody who writes a class
    reason: object = found.reason
    if not isinstance(well, bool) or not isinstance(reason, str):
        raise TypeError(f"it returned {found!r:.100}; well is True or False, and the reason is text")
    return Health(well=well, reason=sentence(reason))


def read_description(found: object) -> Description:
    """Return what a container gets, as it was when it was said.

    Raises:
        TypeError: it is no such answer.
        ValueError: kubelet or the runtime would not take it.
    """
    if not isinstance(found, Description):
        raise TypeError(f"it returned {found!r:.100}, which is no Description")
    named: tuple[object, ...] = (found.environment, found.properties)
    if not all(isinstance(names, Mapping) for names in named):
        raise TypeError("environment and properties are dictionaries")
    return Description(
        nodes=tuple(_node(node) for node in _all(found.nodes, "nodes")),
        mounts=tuple(_mount(mount) for mount in _all(found.mounts, "mounts")),
        environment={
            _text(name, _VARIABLE, "a variable's name"): _text(value, _VALUE, "a variable's value")
            for name, value in found.environment.items()
        },
        numa_node=_numa_node(found.numa_node),
        properties=dict(found.properties),
    )


def _all(found: object, what: str) -> Iterable[object]:
    if not isinstance(found, tuple | list):
        raise TypeError(f"{what} are {found!r:.100}, which is no tuple")
    return found


def _node(node: object) -> DeviceNode:
    if not isinstance(node, DeviceNode):
        raise TypeError(f"{node!r:.100} is no DeviceNode")
    permissions = _text(node.permissions, _PERMISSIONS, "permissions, which are of 'r', 'w' and 'm'")
    return DeviceNode(path=_text(node.path, _PATH, "a whole path"), permissions=permissions)


def _mount(mount: object) -> Mount:
    if not isinstance(mount, Mount):
        raise TypeError(f"{mount!r:.100} is no Mount")
    host, container = (_text(path, _PATH, "a whole path") for path in (mount.host_path, mount.container_path))
    return Mount(host_path=host, container_path=container)


def _text(found: object, form: re.Pattern[str], what: str) -> str:
    if not isinstance(found, str):
        raise TypeError(f"{found!r:.100} is no text, and cannot be {what}")
    if not form.fullmatch(found) or not is_text(found):
        raise ValueError(f"{found!r:.100} cannot be {what}")
    return str(found)


def _numa_node(found: object) -> int | None:
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool):
        raise TypeError(f"{found!r:.100} is no number, and cannot be a NUMA node")
    if not 0 <= found < _MOST_NODES:
        raise ValueError(f"a NUMA node is a number from 0 to {_MOST_NODES - 1}, or nothing where it is not known")
    return found
