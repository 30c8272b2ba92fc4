"""What kubelet asks, answered from an inventory: no sockets, no files."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from kmod_operator.deviceplugin.rpc import Given, Listed, RefusedError, Wish
from kmod_operator.devices.cdi import cdi_name
from kmod_operator.devices.inventory import Inventory
from kmod_operator.devices.preferred import prefer
from kmod_operator.devices.replicas import device_of, shares, spread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from kmod_operator.deviceplugin.metrics import Metrics
    from kmod_operator.settings import Settings


class DevicePlugin:
    """Answers kubelet; whoever looks at devices tells it of them.

    Attributes:
        streams: how many of kubelet's streams are open: one, where all is well.
        given: names that kubelet gave to containers since this process began.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._inventory = Inventory()
        self._listed: list[Listed] = []
        self._changed = asyncio.Event()
        self._generation = 0
        self.streams = 0
        self.given: set[str] = set()

    def tell(self, inventory: Inventory) -> None:
        """Take a new inventory; open streams say it where it differs."""
        self._inventory = inventory
        listed = [
            Listed(id=share, well=entry.health.well, numa_node=entry.description.numa_node)
            for name, entry in inventory.entries.items()
            for share in shares(name, self._settings.replicas)
        ]
        if listed != self._listed:
            self._listed = listed
            self._wake()

    def end_streams(self) -> None:
        """Have all streams end that are open now, as kubelet expects it: it takes that for the end of this plugin.

        The server cannot do that: it cancels its tasks and leaves connections open, and kubelet notices nothing.
        """
        self._generation += 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def watch(self) -> AsyncGenerator[list[Listed], None]:
        self.streams += 1
        generation = self._generation
        try:
            while generation == self._generation:
                changed = self._changed  # taken before what is told, so that nothing between is missed
                yield self._listed
                await changed.wait()
        finally:
            self.streams -= 1

    def allocate(self, devices: Sequence[str]) -> Given:
        try:
            given = self._allocate(devices)
        except RefusedError:
            self._metrics.allocations.labels("refused").inc()
            raise
        self._metrics.allocations.labels("given").inc()
        self.given.update(device_of(name) for name in devices)
        return given

    def _allocate(self, devices: Sequence[str]) -> Given:
        if self._settings.replicas > 1 and len(devices) > 1:
            raise RefusedError(
                f"a container can have one of {self._settings.told_resource}, not {len(devices)}: "
                "shares of one device are no more than one"
            )
        known = {listed.id for listed in self._listed}
        names = []
        for share in devices:
            name = device_of(share)
            entry = self._inventory.entries.get(name)
            if entry is None or share not in known:
                raise RefusedError(f"{self._settings.told_resource} has no device {share!r} on this node")
            if not entry.health.well:
                raise RefusedError(f"{share} is not healthy: {entry.health.reason}")
            names.append(name)
        return self._gift(list(dict.fromkeys(names)))

    def _gift(self, names: Sequence[str]) -> Given:
        environment = {_variable(self._settings.resource): ",".join(names)}
        if self._settings.injection == "cdi":
            kind = self._settings.resource
            return Given(cdi_devices=[cdi_name(kind, name) for name in names], environment=environment)
        described = [self._inventory.entries[name].description for name in names]
        for description in described:
            environment |= description.environment
        return Given(
            nodes=list(dict.fromkeys(node for description in described for node in description.nodes)),
            mounts=list(dict.fromkeys(mount for description in described for mount in description.mounts)),
            environment=environment,
        )

    def prefer(self, wish: Wish) -> Sequence[str]:
        if self._settings.replicas > 1:
            return spread(wish.available, wish.must)
        numa_of = {name: entry.description.numa_node for name, entry in self._inventory.entries.items()}
        try:
            return prefer(wish.available, wish.must, wish.size, numa_of)
        except ValueError as error:
            raise RefusedError(str(error)) from error


def _variable(resource: str) -> str:
    """Return the variable that tells a container which devices are its: of ``x.example/my-dev``, ``MY_DEV_DEVICES``."""
    return re.sub(r"[^A-Z0-9]", "_", resource.rpartition("/")[2].upper()) + "_DEVICES"
