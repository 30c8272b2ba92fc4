"""Keeps what is known of a node's devices: looks at them, tells the container runtime, says what changed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kmod_operator.devices.inventory import Inventory, changes, fail, look, unwell
from kmod_operator.devices.looking import Looker, LookError
from kmod_operator.node.cdi_folder import CdiFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_operator.devices.source import DeviceSource
    from kmod_operator.node.metrics import LookMetrics
    from kmod_operator.node.troubles import Troubles
    from kmod_operator.settings import Settings

_LOG = logging.getLogger(__name__)


class DeviceWatch:
    """Devices of one source, from look to look.

    Attributes:
        inventory: what is told now.
    """

    def __init__(
        self, settings: Settings, source: DeviceSource, metrics: LookMetrics, troubles: Troubles, *, by_runtime: bool
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._troubles = troubles
        self._looker = Looker(source, limit_s=max(settings.scan_s * 2, 5.0))
        self._runtime = CdiFolder(settings.cdi_dir, settings.resource) if by_runtime else None
        self._seen = Inventory()
        self.inventory = Inventory()

    async def look(self, in_use: Callable[[], frozenset[str]]) -> Inventory:
        """Look at all devices once, tell the runtime, and return what is to be told of them.

        Args:
            in_use: says which devices pods have; asked when the look is done.
        """
        await self._look(in_use)
        inventory = self._seen if self._runtime is None else self._with_runtime(self._seen, self._runtime)
        self._log_changes(inventory)
        self.inventory = inventory
        well = sum(entry.health.well for entry in inventory.entries.values())
        self._metrics.devices.labels("healthy").set(well)
        self._metrics.devices.labels("unhealthy").set(len(inventory.entries) - well)
        return inventory

    async def _look(self, in_use: Callable[[], frozenset[str]]) -> None:
        with self._metrics.scan_seconds.time():
            try:
                seen, refused = await self._looker.look()
            except LookError as error:
                self._troubles.note("look", str(error))
                self._seen = fail(self._seen, str(error))
                return
        self._troubles.note("look", "")
        self._troubles.note("names", "; ".join(refused[:5]), is_fatal=False)
        # What nobody has any more leaves this list at the next look after it was given back.
        self._seen = look(self._seen, seen, in_use=in_use(), good_looks=self._settings.good_looks)

    def _with_runtime(self, inventory: Inventory, runtime: CdiFolder) -> Inventory:
        """Write the runtime's file; a device that it does not know cannot be given."""
        present = {name: entry.description for name, entry in inventory.entries.items() if entry.present}
        reason = "its class describes nothing that a container could get: no device file, no mount, no variable"
        trouble = ""
        try:
            runtime.write(present)
        except OSError as error:
            reason = trouble = f"the container runtime cannot be told of it: {error}"
        self._troubles.note("runtime", trouble)
        return unwell(inventory, runtime.unknown(present), reason)

    def _log_changes(self, inventory: Inventory) -> None:
        for change in changes(self.inventory, inventory):
            fields = {"device": change.id, "change": change.what, "reason": change.reason}
            _LOG.info(
                "%s: %s%s",
                change.id,
                change.what,
                f": {change.reason}" if change.reason else "",
                extra={"fields": fields},
            )
            if change.what in {"well", "unwell", "gone"}:
                self._metrics.transitions.labels("healthy" if change.what == "well" else "unhealthy").inc()
