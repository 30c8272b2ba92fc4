"""Which devices pods have, by what kubelet keeps in its folder of plugins. Pure.

Kubelet tells a plugin when a device is given, never when it is given back; its own file says both. The form is not
promised to anybody, so whatever is not understood is "not known", and the caller has another way.

Source: k8s.io/kubernetes v1.34.4, pkg/kubelet/cm/devicemanager/checkpoint/checkpoint.go.
"""

from __future__ import annotations

import json
from typing import Any

CHECKPOINT_NAME = "kubelet_internal_checkpoint"


def read_checkpoint(content: bytes, resource: str) -> frozenset[str] | None:
    """Return the names of a resource's devices that pods have; nothing where the content is not understood."""
    try:
        entries = json.loads(content)["Data"]["PodDeviceEntries"] or []
        return frozenset(
            name for entry in entries if entry["ResourceName"] == resource for name in _names(entry["DeviceIDs"])
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _names(found: Any) -> list[str]:
    """Return names of a list, or of one for each NUMA node."""
    names = found if isinstance(found, list) else [name for of_node in (found or {}).values() for name in of_node]
    if not all(isinstance(name, str) for name in names):
        raise TypeError("names of devices are text")
    return names
