"""Takes away what the other way of telling devices left on this node, so that no device is told of twice.

Whoever calls this holds the node's claim: the other instance has ended, however it ended.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from kmod_operator.kubernetes.errors import FORBIDDEN, NOT_FOUND, ApiError

if TYPE_CHECKING:
    from kmod_operator.dra.cluster import Api
    from kmod_operator.settings import Settings

_LOG = logging.getLogger(__name__)
# Kubelet itself removes slices of a driver that has been away for 30 s.
_KUBELET_REMOVES_WITHIN_S = 45.0


async def remove_device_plugin(settings: Settings) -> str:
    """Remove the sockets of a device plugin of the same devices; return a sentence where that is not possible."""
    for name in (settings.resource, f"{settings.resource}.shared"):
        socket = settings.plugin_dir / f"{name.replace('/', '_')}.sock"
        try:
            socket.unlink()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"the device plugin's socket {socket} cannot be removed: {error}"
        _LOG.info("the device plugin's socket is removed", extra={"fields": {"socket": str(socket)}})
    return ""


class DriverAway:
    """Removes a driver's socket and its slices; called until it returns nothing."""

    def __init__(self, settings: Settings, api: Api | None) -> None:
        self._settings = settings
        self._api = api
        self._begun: float | None = None

    async def __call__(self) -> str:
        socket = self._settings.registry_socket
        if self._begun is None:
            self._begun = time.monotonic()
        try:
            socket.unlink()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            return f"the driver's socket {socket} cannot be removed: {error}"
        if self._api is None:
            return ""
        try:
            for one in await self._api.slices():
                await self._api.delete(one["metadata"]["name"])
                _LOG.info("a resource slice is removed", extra={"fields": {"slice": one["metadata"]["name"]}})
        except ApiError as error:
            return self._after(error)
        return ""

    def _after(self, error: ApiError) -> str:
        """Tell what to wait for: who may not see slices never wrote any, and others are gone after a while."""
        if error.status in {NOT_FOUND, FORBIDDEN}:
            return ""
        if self._begun is not None and time.monotonic() - self._begun > _KUBELET_REMOVES_WITHIN_S:
            _LOG.warning("slices are left to kubelet, which removes them: %s", error)
            return ""
        return f"slices of the driver of dynamic resources may be there still: {error}"
