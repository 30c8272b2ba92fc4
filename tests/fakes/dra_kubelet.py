"""A kubelet for fast tests of a driver: it finds the driver's socket, registers it, and asks it over that socket."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from kmod_operator.kubelet_api import dra_health_v1_pb2 as health_api
from kmod_operator.kubelet_api import dra_v1_pb2 as api
from kmod_operator.kubelet_api import pluginregistration_v1_pb2 as registration_api
from kmod_operator.kubelet_api.pluginregistration_v1_grpc import RegistrationStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_DRA = "/k8s.io.kubelet.pkg.apis.dra"


class DraKubelet:
    """Speaks to the driver at one socket; ``health`` is what its stream said last."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.health: dict[str, tuple[int, str]] = {}
        self.info = registration_api.PluginInfo()

    async def register(self, error: str = "") -> None:
        """Wait for the socket, as kubelet's watcher of plugins does, and say whether the driver is taken."""
        async with asyncio.timeout(10):
            while not self.socket.is_socket():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with self._channel() as channel:
            stub = RegistrationStub(channel)
            self.info = await stub.GetInfo(registration_api.InfoRequest())
            status = registration_api.RegistrationStatus(plugin_registered=not error, error=error)
            await stub.NotifyRegistrationStatus(status)

    async def prepare(self, *claims: tuple[str, str], version: str = "v1") -> dict[str, Any]:
        """Prepare claims, given as name and UID; returns CDI names or the error of each, by UID."""
        asked = [api.Claim(namespace="default", name=name, uid=uid) for name, uid in claims]
        answer = await self._call("NodePrepareResources", version, asked)
        return {
            uid: one.error or [name for device in one.devices for name in device.cdi_device_ids]
            for uid, one in answer.claims.items()
        }

    async def unprepare(self, *claims: tuple[str, str], version: str = "v1") -> dict[str, str]:
        asked = [api.Claim(namespace="default", name=name, uid=uid) for name, uid in claims]
        answer = await self._call("NodeUnprepareResources", version, asked)
        return {uid: one.error for uid, one in answer.claims.items()}

    @contextlib.asynccontextmanager
    async def watch(self, version: str = "v1") -> AsyncIterator[None]:
        """Listen to the stream of health until the end of the block."""
        task = asyncio.create_task(self._listen(version))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, health: dict[str, int]) -> None:
        async with asyncio.timeout(10):
            while {name: found for name, (found, _) in self.health.items()} != health:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def _listen(self, version: str) -> None:
        with self._channel() as channel:
            method = UnaryStreamMethod(
                channel,
                f"/{version}.DRAResourceHealth/NodeWatchResources",
                health_api.NodeWatchResourcesRequest,
                health_api.NodeWatchResourcesResponse,
            )
            async with method.open() as stream:
                await stream.send_message(health_api.NodeWatchResourcesRequest(), end=True)
                async for answer in stream:
                    assert all(device.device.pool_name == "worker" for device in answer.devices)
                    self.health = {one.device.device_name: (one.health, one.message) for one in answer.devices}

    async def _call(self, name: str, version: str, claims: list[api.Claim]) -> Any:
        request = getattr(api, f"{name}Request")
        with self._channel() as channel:
            path = f"{_DRA}.{version}.DRAPlugin/{name}"
            return await UnaryUnaryMethod(channel, path, request, getattr(api, f"{name}Response"))(
                request(claims=claims)
            )

    @contextlib.contextmanager
    def _channel(self) -> Any:
        channel = Channel(path=str(self.socket))
        try:
            yield channel
        finally:
            channel.close()
