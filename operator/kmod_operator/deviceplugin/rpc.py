"""Kubelet's protocol in words of ours. Another gRPC library would change this module and no other.

Source: k8s.io/kubelet v0.34.4, pkg/apis/deviceplugin/v1beta1.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from kmod_operator.kubelet_api import deviceplugin_v1beta1_pb2 as api
from kmod_operator.kubelet_api.deviceplugin_v1beta1_grpc import DevicePluginBase, RegistrationStub
from kmod_operator.node.rpc import SocketServer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
    from pathlib import Path

    from grpclib.server import Stream

    from kmod_operator.devices.model import DeviceNode, Mount

_VERSION = "v1beta1"
_ANSWERS_WITHIN_S = 5.0
_HEALTH = {True: "Healthy", False: "Unhealthy"}


class RegistrationError(Exception):
    """Kubelet does not take us; the message is its own, or says why it could not be asked."""


class RefusedError(Exception):
    """What kubelet asks for cannot be given; the message goes to it, and from there into the pod's events."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A device as kubelet is told of it."""

    id: str
    well: bool
    numa_node: int | None = None


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a container gets."""

    cdi_devices: Sequence[str] = ()
    nodes: Sequence[DeviceNode] = ()
    mounts: Sequence[Mount] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What kubelet asks which devices are best for."""

    available: Sequence[str]
    must: Sequence[str]
    size: int


class Calls(Protocol):
    """What kubelet asks of a plugin."""

    def watch(self) -> AsyncGenerator[list[Listed], None]:
        """Yield all devices, at once and after each change; a stream lasts as long as kubelet's connection."""

    def allocate(self, devices: Sequence[str]) -> Given:
        """Return what a container gets with these; raises RefusedError."""

    def prefer(self, wish: Wish) -> Sequence[str]:
        """Return the devices that are best; raises RefusedError."""


class PluginServer(SocketServer):
    """Answers kubelet on a socket."""

    def __init__(self, calls: Calls) -> None:
        super().__init__([_Handler(calls)])


class _Handler(DevicePluginBase):
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def GetDevicePluginOptions(self, stream: Stream[api.Empty, api.DevicePluginOptions]) -> None:
        await stream.recv_message()
        await stream.send_message(_options())

    async def ListAndWatch(self, stream: Stream[api.Empty, api.ListAndWatchResponse]) -> None:
        await stream.recv_message()
        async with contextlib.aclosing(self._calls.watch()) as lists:
            async for listed in lists:
                await stream.send_message(api.ListAndWatchResponse(devices=map(_device, listed)))

    async def GetPreferredAllocation(
        self, stream: Stream[api.PreferredAllocationRequest, api.PreferredAllocationResponse]
    ) -> None:
        request = await stream.recv_message() or api.PreferredAllocationRequest()
        answers = []
        with _refusals_told():
            for asked in request.container_requests:
                wish = Wish(
                    available=list(asked.available_deviceIDs),
                    must=list(asked.must_include_deviceIDs),
                    size=asked.allocation_size,
                )
                answers.append(api.ContainerPreferredAllocationResponse(deviceIDs=self._calls.prefer(wish)))
        await stream.send_message(api.PreferredAllocationResponse(container_responses=answers))

    async def Allocate(self, stream: Stream[api.AllocateRequest, api.AllocateResponse]) -> None:
        request = await stream.recv_message() or api.AllocateRequest()
        with _refusals_told():
            given = [self._calls.allocate(list(asked.devices_ids)) for asked in request.container_requests]
        await stream.send_message(api.AllocateResponse(container_responses=map(_response, given)))

    async def PreStartContainer(
        self, stream: Stream[api.PreStartContainerRequest, api.PreStartContainerResponse]
    ) -> None:
        await stream.recv_message()
        await stream.send_message(api.PreStartContainerResponse())


@contextlib.contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        raise GRPCError(Status.FAILED_PRECONDITION, str(error)) from error


def _options() -> api.DevicePluginOptions:
    return api.DevicePluginOptions(pre_start_required=False, get_preferred_allocation_available=True)


def _device(listed: Listed) -> api.Device:
    topology = None
    if listed.numa_node is not None:
        topology = api.TopologyInfo(nodes=[api.NUMANode(ID=listed.numa_node)])
    return api.Device(ID=listed.id, health=_HEALTH[listed.well], topology=topology)


def _response(given: Given) -> api.ContainerAllocateResponse:
    return api.ContainerAllocateResponse(
        envs=given.environment,
        mounts=[
            api.Mount(container_path=mount.container_path, host_path=mount.host_path, read_only=True)
            for mount in given.mounts
        ],
        devices=[
            api.DeviceSpec(container_path=node.path, host_path=node.path, permissions=node.permissions)
            for node in given.nodes
        ],
        cdi_devices=[api.CDIDevice(name=name) for name in given.cdi_devices],
    )


async def register(kubelet: Path, endpoint: str, resource: str) -> None:
    """Tell kubelet that a plugin listens on a socket of its folder.

    Raises:
        RegistrationError: it did not take it.
    """
    channel = Channel(path=str(kubelet))
    request = api.RegisterRequest(version=_VERSION, endpoint=endpoint, resource_name=resource, options=_options())
    try:
        await RegistrationStub(channel).Register(request, timeout=_ANSWERS_WITHIN_S)
    except GRPCError as error:
        raise RegistrationError(f"kubelet refuses {resource}: {error.message or error.status.name}") from error
    except (OSError, TimeoutError, ProtocolError, StreamTerminatedError) as error:
        raise RegistrationError(
            f"kubelet does not answer at {kubelet}: {str(error) or type(error).__name__}"
        ) from error
    finally:
        channel.close()
