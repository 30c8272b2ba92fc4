"""A kubelet for fast tests: its folder of plugins, and its side of the protocol over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream
from kmod_operator.kubelet_api import deviceplugin_v1beta1_pb2 as api
from kmod_operator.kubelet_api.deviceplugin_v1beta1_grpc import DevicePluginStub, RegistrationBase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class FakeKubelet(RegistrationBase):
    """Takes registrations, dials back, and keeps what it is told.

    Attributes:
        refuses: what it answers a registration, instead of taking it.
        dials: whether it asks a plugin for its devices after a registration.
        lists: every list of devices that it was told, as ``{name: health}``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refuses = ""
        self.dials = True
        self.registered: list[api.RegisterRequest] = []
        self.lists: list[dict[str, str]] = []
        self.told: list[api.Device] = []
        self.open_streams = 0
        self._heard = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._channels: list[Channel] = []
        self._server: Server | None = None

    async def Register(self, stream: Stream[api.RegisterRequest, api.Empty]) -> None:  # noqa: N802
        request = await stream.recv_message()
        assert request is not None
        if self.refuses:
            raise GRPCError(Status.INVALID_ARGUMENT, self.refuses)
        self.registered.append(request)
        await stream.send_message(api.Empty())
        if self.dials:
            self._tasks.append(asyncio.create_task(self._watch(request.endpoint)))
        self._hear()

    async def start(self) -> None:
        """Begin as kubelet does: what is in its folder goes."""
        for file in self.folder.iterdir():
            if file.name != "kubelet_internal_checkpoint":
                file.unlink()
        self._server = Server([self])
        await self._server.start(path=str(self.folder / "kubelet.sock"))

    async def stop(self) -> None:
        for channel in self._channels:
            channel.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self._channels = [], []
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def until(self, is_true: Any, within_s: float = 10.0) -> None:
        """Wait for something to be true of this; asked after each word from a plugin."""
        async with asyncio.timeout(within_s):
            while not is_true(self):
                self._heard.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._heard.wait(), 0.05)

    def plugin(self) -> DevicePluginStub:
        """Return the plugin that registered last."""
        channel = Channel(path=str(self.folder / self.registered[-1].endpoint))
        self._channels.append(channel)
        return DevicePluginStub(channel)

    async def allocate(self, *names: str) -> Any:
        request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=names)])
        return (await self.plugin().Allocate(request)).container_responses[0]

    async def _watch(self, endpoint: str) -> None:
        channel = Channel(path=str(self.folder / endpoint))
        self._channels.append(channel)
        self.open_streams += 1
        with contextlib.suppress(Exception):
            async for answer in _answers(DevicePluginStub(channel)):
                self.told = list(answer.devices)
                self.lists.append({device.ID: device.health for device in answer.devices})
                self._hear()
        self.open_streams -= 1
        self._hear()

    def _hear(self) -> None:
        self._heard.set()


async def _answers(plugin: DevicePluginStub) -> AsyncIterator[Any]:
    async with plugin.ListAndWatch.open() as stream:
        await stream.send_message(api.Empty(), end=True)
        async for answer in stream:
            yield answer
