"""Kubelet's protocols for drivers of dynamic resources in words of ours. Another gRPC library would change this module.

Source: k8s.io/kubelet v0.37.2, pkg/apis: pluginregistration/v1, dra/v1, dra-health/v1. Each is served under its older
name as well, whose messages are the same: v1beta1 for kubelets before 1.34, v1alpha1 of health for those before 1.37.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kmod_operator.dra.claims import ClaimError, ClaimName
from kmod_operator.kubelet_api import dra_health_v1_pb2 as health_api
from kmod_operator.kubelet_api import dra_v1_pb2 as api
from kmod_operator.kubelet_api import pluginregistration_v1_pb2 as registration_api
from kmod_operator.kubelet_api.dra_health_v1_grpc import DRAResourceHealthBase
from kmod_operator.kubelet_api.dra_v1_grpc import DRAPluginBase
from kmod_operator.kubelet_api.pluginregistration_v1_grpc import RegistrationBase
from kmod_operator.node.rpc import SocketServer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from grpclib.const import Handler
    from grpclib.server import Stream

_LOG = logging.getLogger(__name__)
# Kubelet takes the first that it knows.
_SERVICES = ("v1.DRAPlugin", "v1beta1.DRAPlugin", "v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth")
_OLDER = {"pkg.apis.dra.v1.": "pkg.apis.dra.v1beta1.", "/v1.DRAResourceHealth/": "/v1alpha1.DRAResourceHealth/"}
_LONGEST_MESSAGE = 1024


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A device of a claim that a container can get now."""

    request: str
    pool: str
    device: str
    cdi: str


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """How well a device is, as kubelet is told."""

    pool: str
    device: str
    well: bool
    reason: str = ""


class DriverCalls(Protocol):
    """What kubelet asks of a driver."""

    def registration_told(self, *, taken: bool, words: str) -> None:
        """Take note of whether kubelet took the driver, and why not."""

    async def prepare(self, claim: ClaimName) -> Sequence[Prepared]:
        """Return what containers of a claim get; raises ClaimError."""

    def unprepare(self, claim: ClaimName) -> None:
        """Give a claim back."""

    def watch(self) -> AsyncGenerator[tuple[list[DeviceState], int], None]:
        """Yield all devices, and when they were looked at: at once, after each change and now and then."""


class DriverServer(SocketServer):
    """Answers kubelet on one socket: there it finds us, and there it asks."""

    def __init__(self, calls: DriverCalls, driver: str) -> None:
        super().__init__([_Registration(calls, driver), _Plugin(calls), _Health(calls)])


class _Registration(RegistrationBase):
    def __init__(self, calls: DriverCalls, driver: str) -> None:
        self._calls = calls
        self._driver = driver

    async def GetInfo(self, stream: Stream[registration_api.InfoRequest, registration_api.PluginInfo]) -> None:
        await stream.recv_message()
        # Without an endpoint kubelet asks at the socket where it found us.
        info = registration_api.PluginInfo(type="DRAPlugin", name=self._driver, supported_versions=_SERVICES)
        await stream.send_message(info)

    async def NotifyRegistrationStatus(
        self, stream: Stream[registration_api.RegistrationStatus, registration_api.RegistrationStatusResponse]
    ) -> None:
        status = await stream.recv_message() or registration_api.RegistrationStatus()
        self._calls.registration_told(taken=status.plugin_registered, words=status.error)
        await stream.send_message(registration_api.RegistrationStatusResponse())


class _Plugin(DRAPluginBase):
    def __init__(self, calls: DriverCalls) -> None:
        self._calls = calls

    def __mapping__(self) -> dict[str, Handler]:
        return _with_older(super().__mapping__())

    async def NodePrepareResources(
        self, stream: Stream[api.NodePrepareResourcesRequest, api.NodePrepareResourcesResponse]
    ) -> None:
        request = await stream.recv_message() or api.NodePrepareResourcesRequest()
        claims = _claims(request.claims)
        answers = await asyncio.gather(*map(self._prepare, claims))
        await stream.send_message(
            api.NodePrepareResourcesResponse(
                claims={claim.uid: answer for claim, answer in zip(claims, answers, strict=True)}
            )
        )

    async def _prepare(self, claim: ClaimName) -> api.NodePrepareResourceResponse:
        try:
            prepared = await self._calls.prepare(claim)
        except ClaimError as error:
            return api.NodePrepareResourceResponse(error=str(error))
        except Exception as error:  # noqa: BLE001 - one claim's error is not another's
            _LOG.exception("a claim could not be prepared", extra={"fields": {"claim": claim.name}})
            return api.NodePrepareResourceResponse(error=f"the driver failed: {type(error).__name__}: {error}")
        return api.NodePrepareResourceResponse(
            devices=[
                api.Device(
                    request_names=[one.request], pool_name=one.pool, device_name=one.device, cdi_device_ids=[one.cdi]
                )
                for one in prepared
            ]
        )

    async def NodeUnprepareResources(
        self, stream: Stream[api.NodeUnprepareResourcesRequest, api.NodeUnprepareResourcesResponse]
    ) -> None:
        request = await stream.recv_message() or api.NodeUnprepareResourcesRequest()
        claims = _claims(request.claims)
        for claim in claims:
            self._calls.unprepare(claim)
        answers = {claim.uid: api.NodeUnprepareResourceResponse() for claim in claims}
        await stream.send_message(api.NodeUnprepareResourcesResponse(claims=answers))


class _Health(DRAResourceHealthBase):
    def __init__(self, calls: DriverCalls) -> None:
        self._calls = calls

    def __mapping__(self) -> dict[str, Handler]:
        return _with_older(super().__mapping__())

    async def NodeWatchResources(
        self, stream: Stream[health_api.NodeWatchResourcesRequest, health_api.NodeWatchResourcesResponse]
    ) -> None:
        await stream.recv_message()
        async with contextlib.aclosing(self._calls.watch()) as lists:
            async for states, looked_at in lists:
                devices = [_health(state, looked_at) for state in states]
                await stream.send_message(health_api.NodeWatchResourcesResponse(devices=devices))


def _claims(claims: Iterable[api.Claim]) -> list[ClaimName]:
    return [ClaimName(namespace=claim.namespace, name=claim.name, uid=claim.uid) for claim in claims]


def _health(state: DeviceState, looked_at: int) -> health_api.DeviceHealth:
    health = health_api.HealthStatus.HEALTHY if state.well else health_api.HealthStatus.UNHEALTHY
    return health_api.DeviceHealth(
        device=health_api.DeviceIdentifier(pool_name=state.pool, device_name=state.device),
        health=health,
        last_updated_time=looked_at,
        message=state.reason[:_LONGEST_MESSAGE],
    )


def _with_older(handlers: Mapping[str, Handler]) -> dict[str, Handler]:
    """Answer under older names of services as well."""
    older = {}
    for path, handler in handlers.items():
        for new, old in _OLDER.items():
            if new in path:
                older[path.replace(new, old)] = handler
    return {**handlers, **older}
