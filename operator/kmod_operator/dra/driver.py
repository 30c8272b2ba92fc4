"""What kubelet asks a driver of dynamic resources, answered from an inventory and the API: no sockets, no files.

Nothing is kept of a claim: what a container gets is in the runtime's file, which is made of the devices that are there.
So nothing can be out of date after a reboot, or after the module was loaded again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from kmod_operator.devices.cdi import cdi_name
from kmod_operator.dra.claims import ClaimError, ClaimName, read_allocation
from kmod_operator.dra.rpc import DeviceState, Prepared
from kmod_operator.kubernetes.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from kmod_operator.dra.cluster import Api
    from kmod_operator.dra.metrics import DriverMetrics
    from kmod_operator.dra.offers import Offer
    from kmod_operator.node.troubles import Troubles
    from kmod_operator.settings import Settings

_LOG = logging.getLogger(__name__)
# Kubelet takes a device of which it has heard nothing for 30 s for unknown.
_TELL_AGAIN_S = 10.0


class Driver:
    """Answers kubelet; whoever looks at devices tells it of them.

    Attributes:
        registered: whether kubelet took us.
        streams: how many streams of health are open.
    """

    def __init__(
        self,
        settings: Settings,
        api: Api,
        metrics: DriverMetrics,
        troubles: Troubles,
        *,
        on_registration: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._api = api
        self._metrics = metrics
        self._troubles = troubles
        self._on_registration = on_registration
        self._offers: dict[str, Offer] = {}
        self._states: list[DeviceState] = []
        self._looked_at = 0
        self._changed = asyncio.Event()
        self._generation = 0
        self._prepared: dict[str, frozenset[str]] = {}
        self.registered = False
        self.streams = 0

    def tell(self, offers: Sequence[Offer]) -> None:
        """Take the devices that are there now; open streams of health say it where it differs."""
        self._offers = {one.name: one for one in offers}
        self._looked_at = int(time.time())
        states = [
            DeviceState(pool=self._settings.node, device=one.name, well=one.well, reason=one.reason) for one in offers
        ]
        if states != self._states:
            self._states = states
            self._wake()

    def in_use(self) -> frozenset[str]:
        """Return the devices of claims that were prepared since this process began, and not given back."""
        return frozenset(device for devices in self._prepared.values() for device in devices)

    def end_streams(self) -> None:
        """Have all streams end that are open now."""
        self._generation += 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def registration_told(self, *, taken: bool, words: str) -> None:
        self.registered = taken
        self._metrics.registrations.labels("taken" if taken else "failed").inc()
        self._troubles.note("kubelet", "" if taken else f"kubelet refuses {self._settings.driver}: {words}")
        if taken:
            _LOG.info("registered with kubelet", extra={"fields": {"driver": self._settings.driver}})
            self._on_registration()

    async def prepare(self, claim: ClaimName) -> list[Prepared]:
        try:
            prepared = await self._prepare(claim)
        except ClaimError as error:
            self._metrics.prepares.labels("refused").inc()
            fields = {"claim": f"{claim.namespace}/{claim.name}", "uid": claim.uid}
            _LOG.warning("a claim is not prepared: %s", error, extra={"fields": fields})
            raise
        self._metrics.prepares.labels("given").inc()
        return prepared

    async def _prepare(self, claim: ClaimName) -> list[Prepared]:
        try:
            found = await self._api.claim(claim.namespace, claim.name)
        except ApiError as error:
            raise ClaimError(str(error)) from error
        prepared, devices = [], set()
        for given in read_allocation(found, claim, self._settings.driver):
            if given.pool != self._settings.node:
                raise ClaimError(f"{given.device} is of the pool {given.pool!r}; this node has {self._settings.node!r}")
            offer = self._offers.get(given.device)
            if offer is None:
                raise ClaimError(f"{self._settings.driver} has no device {given.device!r} on this node")
            if not offer.well:
                raise ClaimError(f"{given.device} is not healthy: {offer.reason}")
            name = cdi_name(self._settings.resource, offer.id)
            prepared.append(Prepared(request=given.request, pool=given.pool, device=given.device, cdi=name))
            devices.add(offer.id)
        self._prepared[claim.uid] = frozenset(devices)
        return prepared

    def unprepare(self, claim: ClaimName) -> None:
        """Forget a claim; one that nobody knows is given back as well."""
        self._prepared.pop(claim.uid, None)

    async def watch(self) -> AsyncGenerator[tuple[list[DeviceState], int], None]:
        self.streams += 1
        generation = self._generation
        try:
            while generation == self._generation:
                changed = self._changed  # taken before what is told, so that nothing between is missed
                yield self._states, self._looked_at
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TELL_AGAIN_S):
                        await changed.wait()
        finally:
            self.streams -= 1
