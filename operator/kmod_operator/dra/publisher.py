"""Keeps the resource slices of this node as its devices are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING, Any

from kmod_operator.dra.pool import Pool, keeps_taints, plan_writes, slice_devices
from kmod_operator.kubernetes.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_operator.dra.cluster import Api
    from kmod_operator.dra.metrics import DriverMetrics
    from kmod_operator.dra.offers import Offer
    from kmod_operator.dra.pool import Slice, Writes
    from kmod_operator.node.troubles import Troubles

_LOG = logging.getLogger(__name__)
# Kubelet removes the slices of its node when it starts, and of a driver that was away for half a minute: after it took
# us we look often, else once in a while. A list of one node's slices comes from the server's memory.
_LOOK_S = 30.0
_LOOK_SOON_S = 5.0
_SOON_FOR_S = 60.0
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0


class Publisher:
    """Compares slices with devices, and writes what differs; a server that refuses is asked again, later and later.

    Attributes:
        is_done: whether slices ever said the devices.
    """

    def __init__(self, api: Api, pool: Pool, metrics: DriverMetrics, troubles: Troubles) -> None:
        self._api = api
        self._pool = pool
        self._metrics = metrics
        self._troubles = troubles
        self._offers: Sequence[Offer] | None = None
        self._told: tuple[Any, ...] | None = None
        self._keeps_taints = True
        self._generation = 0
        self._failures = 0
        self._often_until = 0.0
        self._wake = asyncio.Event()
        self.is_done = False

    def tell(self, offers: Sequence[Offer]) -> None:
        """Take the devices that are there now; slices say it soon."""
        self._offers = offers
        told = tuple((one.name, one.well, one.present, one.attributes) for one in offers)
        if told != self._told:
            self._told = told
            self._wake.set()

    def look_often(self) -> None:
        """Compare now, and often for a while: kubelet has begun, and may remove slices."""
        self._often_until = time.monotonic() + _SOON_FOR_S
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            wait_s = await self._pass()
            if self._failures:  # whatever happens meanwhile, the server is left alone
                await asyncio.sleep(wait_s)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()

    async def _pass(self) -> float:
        """Compare and write once; return how long to wait until the next time."""
        self._wake.clear()
        if self._offers is None:
            return _LOOK_S
        try:
            await self.publish()
        except ApiError as error:
            return self._failed(str(error), error.wait_s)
        except Exception as error:  # noqa: BLE001 - what the server answers is the server's; kubelet is served
            _LOG.exception("slices cannot be compared")
            return self._failed(f"resource slices cannot be compared: {type(error).__name__}: {error}", 0.0)
        self._failures = 0
        self.is_done = True
        self._troubles.note("slices", "")
        return _LOOK_SOON_S if time.monotonic() < self._often_until else _LOOK_S * random.uniform(0.8, 1.2)  # noqa: S311

    def _failed(self, words: str, wait_s: float) -> float:
        self._failures += 1
        self._metrics.failures.inc()
        self._troubles.note("slices", words)
        most: float = min(_FIRST_WAIT_S * 2 ** min(self._failures - 1, 10), _LONGEST_WAIT_S)
        return max(most * random.uniform(0.5, 1.0), wait_s)  # noqa: S311 - so that nodes do not ask all at once

    async def publish(self) -> None:
        """Make the slices say the devices that were told last; one that says them already is not written.

        Raises:
            ApiError: the server did not do it; some slices may have been written, and the next time goes on there.
        """
        stored = await self._api.slices()
        if not self._plan(stored, self._pool_as_it_was(stored)):
            return
        # By its UID the node owns the slices: one of the same name that is another node would lose them at once.
        pool = Pool(driver=self._pool.driver, node=self._pool.node, node_uid=await self._api.node_uid())
        self._pool = pool
        writes = self._plan(stored, pool)
        if await self._write(writes):
            return
        self._keeps_taints = False
        await self._write(self._plan(await self._api.slices(), pool))

    def _pool_as_it_was(self, stored: Sequence[Slice]) -> Pool:
        """Return the pool with a UID of the node that was read before, or that slices have."""
        if self._pool.node_uid or not stored:
            return self._pool
        owners = stored[0]["metadata"].get("ownerReferences")
        owner = owners[0] if isinstance(owners, list) and owners and isinstance(owners[0], dict) else {}
        return Pool(driver=self._pool.driver, node=self._pool.node, node_uid=str(owner.get("uid", "")))

    def _plan(self, stored: Sequence[Slice], pool: Pool) -> Writes:
        offers = self._offers or ()
        left_out = [] if self._keeps_taints else [one for one in offers if one.present and not one.well]
        words = "; ".join(f"{one.name}: {one.reason}" for one in left_out[:5])
        self._troubles.note(
            "taints", words and f"left out, as this API server keeps no taints of devices: {words}", is_fatal=False
        )
        devices = slice_devices(offers, pool.driver, keeps_taints=self._keeps_taints)
        return plan_writes(stored, devices, pool, after=self._generation)

    async def _write(self, writes: Writes) -> bool:
        """Write, and tell whether the server took all of it: one that keeps no taints needs another plan."""
        took = True
        self._generation = writes.generation
        for item in writes.replace:
            took &= keeps_taints(item, await self._api.replace(item))
            self._metrics.writes.labels("replace").inc()
        for item in writes.create:
            took &= keeps_taints(item, await self._api.create(item))
            self._metrics.writes.labels("create").inc()
        for name in writes.delete:
            await self._api.delete(name)
            self._metrics.writes.labels("delete").inc()
        if writes:
            count = len(writes.replace) + len(writes.create)
            fields = {"generation": writes.generation, "slices": count, "deleted": len(writes.delete)}
            _LOG.info("the cluster is told of devices", extra={"fields": fields})
        return took
