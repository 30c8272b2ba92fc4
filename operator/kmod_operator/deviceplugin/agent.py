"""Keeps a node's devices told to kubelet: looks every other second, and sets right whatever is not as it should be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from kmod_operator.deviceplugin.checkpoint import CHECKPOINT_NAME, read_checkpoint
from kmod_operator.deviceplugin.plugin import DevicePlugin
from kmod_operator.deviceplugin.rpc import PluginServer, RegistrationError, register
from kmod_operator.devices.replicas import device_of
from kmod_operator.node.agent import NodeAgent
from kmod_operator.node.identity import Identity, identify
from kmod_operator.status_server import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from kmod_operator.deviceplugin.metrics import Metrics
    from kmod_operator.devices.source import DeviceSource
    from kmod_operator.settings import Settings

_LOG = logging.getLogger(__name__)
_KUBELET = "kubelet.sock"
# Kubelet dials back within milliseconds; one that has not after so long has forgotten us.
_STREAM_WITHIN_S = 10.0
_STREAMS_END_WITHIN_S = 2.0
_MOST_CHECKPOINT_BYTES = 64 * 1024**2


class Agent(NodeAgent):
    """The device plugin of one resource on one node."""

    def __init__(
        self,
        settings: Settings,
        source: DeviceSource,
        metrics: Metrics,
        *,
        first: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        super().__init__(settings, source, metrics, by_runtime=settings.injection == "cdi", first=first)
        self._metrics = metrics
        self._plugin = DevicePlugin(settings, metrics)
        self._server: PluginServer | None = None
        self._own: Identity | None = None
        self._registered_at: Identity | None = None
        self._streamless_since = time.monotonic()
        self._checkpoint: tuple[Identity, frozenset[str] | None] | None = None

    def is_ready(self) -> Answer:
        """Tell whether kubelet knows us and listens, and devices are known."""
        words = self._troubles.sentence()
        if not words and not self._plugin.streams:
            words = "kubelet took the registration, and has not asked for devices yet"
        if words:
            return Answer(well=False, words=words)
        return Answer(well=True, words=f"kubelet is told of {len(self._watch.inventory.entries)} devices")

    async def _turn(self) -> None:
        self._plugin.tell(await self._watch.look(self._in_use))
        await self._serve()
        await self._register()

    async def _end(self) -> None:
        await self._stop_serving()

    async def _serve(self) -> None:
        """Listen where kubelet looks for us; a socket that is not ours, or none, means to begin anew."""
        socket = self._settings.socket
        if self._server is not None and self._own is not None and identify(socket) == self._own:
            return
        await self._stop_serving()
        server = PluginServer(self._plugin)
        try:
            await server.start(socket)
        except OSError as error:
            self._troubles.note("socket", f"{socket} cannot be made: {error}")
            return
        self._troubles.note("socket", "")
        self._server, self._own = server, identify(socket)

    async def _register(self) -> None:
        kubelet = identify(self._settings.plugin_dir / _KUBELET)
        if self._server is None or kubelet is None:
            self._registered_at = None
            self._troubles.note("kubelet", "" if kubelet else f"{self._settings.plugin_dir / _KUBELET} is not there")
            return
        now = time.monotonic()
        if self._plugin.streams:
            self._streamless_since = now
        is_forgotten = now - self._streamless_since > _STREAM_WITHIN_S
        if kubelet == self._registered_at and not is_forgotten:
            return
        try:
            await register(
                self._settings.plugin_dir / _KUBELET, self._settings.socket_name, self._settings.told_resource
            )
        except RegistrationError as error:
            self._registered_at = None
            self._metrics.registrations.labels("failed").inc()
            self._troubles.note("kubelet", str(error))
            return
        self._troubles.note("kubelet", "")
        self._registered_at, self._streamless_since = kubelet, now
        self._metrics.registrations.labels("taken").inc()
        _LOG.info("registered with kubelet", extra={"fields": {"resource": self._settings.told_resource}})

    async def _stop_serving(self) -> None:
        if self._server is None:
            return
        socket = self._settings.socket
        is_ours = identify(socket) == self._own
        self._plugin.end_streams()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STREAMS_END_WITHIN_S):
                while self._plugin.streams:  # noqa: ASYNC110 - what counts is a number, and it takes a moment
                    await asyncio.sleep(0.01)
        await self._server.stop()
        self._server, self._own, self._registered_at = None, None, None
        if is_ours:
            with contextlib.suppress(OSError):
                socket.unlink()

    def _in_use(self) -> frozenset[str]:
        """Return the devices that pods have: by kubelet's own file, or all ever given where it says nothing."""
        file = self._settings.plugin_dir / CHECKPOINT_NAME
        identity = identify(file)
        if identity is None:
            return frozenset(self._plugin.given)
        if self._checkpoint is None or self._checkpoint[0] != identity:
            self._checkpoint = identity, _read_checkpoint(file, self._settings.told_resource)
        names = self._checkpoint[1]
        return frozenset(self._plugin.given) if names is None else frozenset(map(device_of, names))


def _read_checkpoint(file: Path, resource: str) -> frozenset[str] | None:
    try:
        # Whatever else lies there is not followed, and not waited for.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as content:  # noqa: PTH123 - a descriptor
            return read_checkpoint(content.read(_MOST_CHECKPOINT_BYTES), resource)
    except OSError:
        return None
