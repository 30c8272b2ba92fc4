"""Which way devices are told: by a device plugin or as dynamic resources; never both."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from kmod_operator.deviceplugin.agent import Agent
from kmod_operator.deviceplugin.metrics import Metrics
from kmod_operator.dra.agent import DriverAgent
from kmod_operator.dra.handover import DriverAway, remove_device_plugin
from kmod_operator.dra.metrics import DriverMetrics
from kmod_operator.kubernetes.errors import NOT_FOUND, ApiError, NoApiError
from kmod_operator.status_server import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kmod_operator.devices.source import DeviceSource
    from kmod_operator.dra.cluster import Api
    from kmod_operator.node.agent import NodeAgent
    from kmod_operator.settings import Settings

_LOG = logging.getLogger(__name__)
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 30.0


class Program:
    """What runs on a node, whichever way devices are told there.

    Args:
        settings: names and places.
        source: knows the devices.
        api: the API server, in tests; else it is opened where it is needed.
    """

    def __init__(self, settings: Settings, source: DeviceSource, api: Api | None = None) -> None:
        self._settings = settings
        self._source = source
        self._given_api = api
        self._agent: NodeAgent | None = None
        self._words = "it has just begun"
        self.registry = CollectorRegistry()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop.

        Raises:
            NoApiError: the setting needs an API server, and nothing says where it is.
        """
        async with self._open_api() as api:
            mode = self._settings.mode
            if mode == "Auto" and api is not None:
                mode = await self._choose(api, stop)
            if stop.is_set():
                return
            _LOG.info("devices are told", extra={"fields": {"mode": mode, "resource": self._settings.resource}})
            self._agent = self._make(mode, api)
            await self._agent.run(stop)

    def is_alive(self) -> Answer:
        return self._agent.is_alive() if self._agent else Answer(well=True, words=self._words)

    def is_ready(self) -> Answer:
        return self._agent.is_ready() if self._agent else Answer(well=False, words=self._words)

    async def _choose(self, api: Api, stop: asyncio.Event) -> str:
        """Return the mode that the cluster has; an API server that does not say it is asked until it does."""
        wait_s = _FIRST_WAIT_S
        while not stop.is_set():
            try:
                return "DRA" if await has_slices(api) else "DevicePlugin"
            except ApiError as error:
                words = f"whether the cluster has dynamic resources is not known: {error}"
                if words != self._words:
                    _LOG.warning("%s", words)
                self._words = words
                wait = max(wait_s * random.uniform(0.5, 1.0), error.wait_s)  # noqa: S311 - so that nodes do not ask at once
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await stop.wait()
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        return ""

    def _make(self, mode: str, api: Api | None) -> NodeAgent:
        if mode == "DRA" and api is not None:
            first = functools.partial(remove_device_plugin, self._settings)
            return DriverAgent(self._settings, self._source, DriverMetrics(self.registry), api, first=first)
        return Agent(self._settings, self._source, Metrics(self.registry), first=DriverAway(self._settings, api))

    @contextlib.asynccontextmanager
    async def _open_api(self) -> AsyncIterator[Api | None]:
        if self._given_api is not None or (self._settings.mode == "DevicePlugin" and not self._settings.node):
            yield self._given_api
            return
        # The client of Kubernetes takes 10 MB of memory: it is loaded where it is needed.
        from kmod_operator.dra.api import open_api  # noqa: PLC0415

        async with contextlib.AsyncExitStack() as held:
            api: Api | None = None
            try:
                api = await held.enter_async_context(open_api(node=self._settings.node, driver=self._settings.driver))
            except NoApiError as error:
                if self._settings.mode != "DevicePlugin":
                    raise
                _LOG.info("slices of the driver of dynamic resources are left to kubelet: %s", error)
            yield api


async def has_slices(api: Api) -> bool:
    """Tell whether an API server has resource.k8s.io/v1.

    That it has not is believed of one that knows this node: a proxy before it says "not found" as well.

    Raises:
        ApiError: it does not say.
    """
    await api.node_uid()
    try:
        await api.slices()
    except ApiError as error:
        if error.status == NOT_FOUND:
            return False
        raise
    return True
