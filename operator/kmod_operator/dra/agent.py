"""Keeps a node's devices told as dynamic resources: to kubelet on its socket, to the cluster in slices."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from kmod_operator.dra.driver import Driver
from kmod_operator.dra.offers import offer
from kmod_operator.dra.pool import Pool
from kmod_operator.dra.publisher import Publisher
from kmod_operator.dra.rpc import DriverServer
from kmod_operator.node.agent import NodeAgent
from kmod_operator.node.identity import Identity, identify
from kmod_operator.status_server import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kmod_operator.devices.source import DeviceSource
    from kmod_operator.dra.cluster import Api
    from kmod_operator.dra.metrics import DriverMetrics
    from kmod_operator.dra.offers import Offer
    from kmod_operator.settings import Settings

_STREAMS_END_WITHIN_S = 2.0


class DriverAgent(NodeAgent):
    """The driver of dynamic resources for one resource on one node."""

    def __init__(
        self,
        settings: Settings,
        source: DeviceSource,
        metrics: DriverMetrics,
        api: Api,
        *,
        first: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        super().__init__(settings, source, metrics, by_runtime=True, first=first)
        pool = Pool(driver=settings.driver, node=settings.node)
        self._publisher = Publisher(api, pool, metrics, self._troubles)
        self._driver = Driver(settings, api, metrics, self._troubles, on_registration=self._publisher.look_often)
        self._server: DriverServer | None = None
        self._own: Identity | None = None
        self._publishing: asyncio.Task[None] | None = None

    def is_ready(self) -> Answer:
        """Tell whether kubelet took us, and the cluster is told of devices."""
        words = self._troubles.sentence()
        if not words and not self._driver.registered:
            words = f"kubelet has not found {self._settings.registry_socket} yet"
        if not words and not self._publisher.is_done:
            words = "the cluster is not told of devices yet"
        if words:
            return Answer(well=False, words=words)
        return Answer(well=True, words=f"the cluster is told of {len(self._watch.inventory.entries)} devices")

    async def _turn(self) -> None:
        inventory = await self._watch.look(self._driver.in_use)
        offers, refused = offer(inventory)
        self._troubles.note("offers", "; ".join(refused[:5]), is_fatal=False)
        self._driver.tell(offers)
        await self._serve()
        self._publish(offers)

    def _publish(self, offers: list[Offer]) -> None:
        """Have slices say these devices, once kubelet took us: before, a pod that gets one could not begin."""
        if self._publishing is None and not self._driver.registered:
            return
        self._publisher.tell(offers)
        if self._publishing is None or self._publishing.done():
            self._publishing = asyncio.create_task(self._publisher.run())

    async def _serve(self) -> None:
        """Listen where kubelet looks for plugins; a socket that is not ours, or none, means to begin anew."""
        socket = self._settings.registry_socket
        if self._server is not None and self._own is not None and identify(socket) == self._own:
            return
        await self._stop_serving()
        server = DriverServer(self._driver, self._settings.driver)
        try:
            await server.start(socket)
        except OSError as error:
            self._troubles.note("socket", f"{socket} cannot be made: {error}")
            return
        self._troubles.note("socket", "")
        self._server, self._own = server, identify(socket)

    async def _end(self) -> None:
        """Listen no more. Slices stay: kubelet removes them half a minute later, unless another instance comes."""
        if self._publishing is not None:
            self._publishing.cancel()
            await asyncio.gather(self._publishing, return_exceptions=True)
        await self._stop_serving()

    async def _stop_serving(self) -> None:
        self._driver.registered = False
        if self._server is None:
            return
        socket = self._settings.registry_socket
        is_ours = identify(socket) == self._own
        self._driver.end_streams()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STREAMS_END_WITHIN_S):
                while self._driver.streams:  # noqa: ASYNC110 - what counts is a number, and it takes a moment
                    await asyncio.sleep(0.01)
        if is_ours:
            with contextlib.suppress(OSError):
                socket.unlink()
        await self._server.stop()
        self._server, self._own = None, None
