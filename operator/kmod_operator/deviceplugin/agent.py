"""Keeps a node's devices told to kubelet: looks every other second, and sets right whatever is not as it should be.

There is one loop and no watch. Kubelet that restarts, a socket that somebody removed, a device that came, a runtime's
file that is gone: each is seen by looking, and mended at the next look. That needs no inotify, whose instances run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from kmod_operator.deviceplugin.cdi_folder import CdiFolder
from kmod_operator.deviceplugin.checkpoint import CHECKPOINT_NAME, read_checkpoint
from kmod_operator.deviceplugin.claim import Claim
from kmod_operator.deviceplugin.identity import Identity, identify
from kmod_operator.deviceplugin.plugin import DevicePlugin
from kmod_operator.deviceplugin.rpc import PluginServer, RegistrationError, register
from kmod_operator.devices.inventory import Inventory, changes, fail, look, unwell
from kmod_operator.devices.looking import Looker, LookError
from kmod_operator.devices.replicas import device_of
from kmod_operator.status_server import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from kmod_operator.deviceplugin.metrics import Metrics
    from kmod_operator.devices.source import DeviceSource
    from kmod_operator.settings import Settings

_LOG = logging.getLogger(__name__)
_KUBELET = "kubelet.sock"
# Kubelet dials back within milliseconds; one that has not after so long has forgotten us.
_STREAM_WITHIN_S = 10.0
_STREAMS_END_WITHIN_S = 2.0
_ALIVE_WITHIN_S = 60.0
_MOST_CHECKPOINT_BYTES = 64 * 1024**2


class Agent:
    """The device plugin of one resource on one node."""

    def __init__(self, settings: Settings, source: DeviceSource, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._looker = Looker(source, limit_s=max(settings.scan_s * 2, 5.0))
        self._plugin = DevicePlugin(settings, metrics)
        self._runtime = CdiFolder(settings.cdi_dir, settings.resource)
        self._seen = Inventory()
        self._inventory = Inventory()
        self._server: PluginServer | None = None
        self._own: Identity | None = None
        self._registered_at: Identity | None = None
        self._streamless_since = time.monotonic()
        self._alive_at = time.monotonic()
        self._troubles: dict[str, str] = {"start": "it has just begun"}
        self._said: dict[str, str] = {}
        self._checkpoint: tuple[Identity, frozenset[str] | None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; then nothing of ours listens any more. The runtime's file stays: pods need it."""
        claim = Claim(self._settings.cdi_dir / f".{self._settings.socket_name}.lock", self._trouble)
        with claim:
            while not stop.is_set():
                self._alive_at = time.monotonic()
                claimed = claim.is_ours()
                self._trouble("start", "")
                if claimed:
                    await self._turn()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._settings.scan_s)
            await self._stop_serving()

    def is_alive(self) -> Answer:
        quiet_s = time.monotonic() - self._alive_at
        limit_s = max(_ALIVE_WITHIN_S, 10 * self._settings.scan_s)
        if quiet_s > limit_s:
            return Answer(well=False, words=f"the loop has not turned for {quiet_s:.0f} s")
        return Answer(well=True, words="the loop turns")

    def is_ready(self) -> Answer:
        """Tell whether kubelet knows us and listens, and devices are known."""
        troubles = dict(self._troubles)
        if not troubles and not self._plugin.streams:
            troubles["stream"] = "kubelet took the registration, and has not asked for devices yet"
        if troubles:
            return Answer(well=False, words="; ".join(troubles.values()))
        return Answer(well=True, words=f"kubelet is told of {len(self._inventory.entries)} devices")

    async def _turn(self) -> None:
        await self._look()
        self._tell()
        await self._serve()
        await self._register()

    async def _look(self) -> None:
        with self._metrics.scan_seconds.time():
            try:
                seen, refused = await self._looker.look()
            except LookError as error:
                self._trouble("look", str(error))
                self._seen = fail(self._seen, str(error))
                return
        self._trouble("look", "")
        self._trouble("names", "; ".join(refused[:5]), is_fatal=False)
        # What nobody has any more leaves this list at the next look after it was given back.
        self._seen = look(self._seen, seen, in_use=self._in_use(), good_looks=self._settings.good_looks)

    def _tell(self) -> None:
        inventory = self._seen
        if self._settings.injection == "cdi":
            inventory = self._with_runtime(inventory)
        self._log_changes(inventory)
        self._inventory = inventory
        self._plugin.tell(inventory)
        well = sum(entry.health.well for entry in inventory.entries.values())
        self._metrics.devices.labels("healthy").set(well)
        self._metrics.devices.labels("unhealthy").set(len(inventory.entries) - well)

    def _with_runtime(self, inventory: Inventory) -> Inventory:
        """Write the runtime's file; a device that it does not know cannot be given."""
        present = {name: entry.description for name, entry in inventory.entries.items() if entry.present}
        try:
            self._runtime.write(present)
        except OSError as error:
            reason = f"the container runtime cannot be told of it: {error}"
            self._trouble("runtime", reason)
            unknown = [name for name, description in present.items() if not self._runtime.knows(name, description)]
            return unwell(inventory, unknown, reason)
        self._trouble("runtime", "")
        return inventory

    def _log_changes(self, inventory: Inventory) -> None:
        for change in changes(self._inventory, inventory):
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

    async def _serve(self) -> None:
        """Listen where kubelet looks for us; a socket that is not ours, or none, means to begin anew."""
        socket = self._settings.socket
        if self._server is not None and self._own is not None and identify(socket) == self._own:
            return
        await self._stop_serving()
        server = PluginServer(self._plugin)
        try:
            await server.start(socket)
        except OSError as error:
            self._trouble("socket", f"{socket} cannot be made: {error}")
            return
        self._trouble("socket", "")
        self._server, self._own = server, identify(socket)

    async def _register(self) -> None:
        kubelet = identify(self._settings.plugin_dir / _KUBELET)
        if self._server is None or kubelet is None:
            self._registered_at = None
            self._trouble("kubelet", "" if kubelet else f"{self._settings.plugin_dir / _KUBELET} is not there")
            return
        now = time.monotonic()
        if self._plugin.streams:
            self._streamless_since = now
        is_forgotten = now - self._streamless_since > _STREAM_WITHIN_S
        if kubelet == self._registered_at and not is_forgotten:
            return
        try:
            await register(
                self._settings.plugin_dir / _KUBELET, self._settings.socket_name, self._settings.told_resource
            )
        except RegistrationError as error:
            self._registered_at = None
            self._metrics.registrations.labels("failed").inc()
            self._trouble("kubelet", str(error))
            return
        self._trouble("kubelet", "")
        self._registered_at, self._streamless_since = kubelet, now
        self._metrics.registrations.labels("taken").inc()
        _LOG.info("registered with kubelet", extra={"fields": {"resource": self._settings.told_resource}})

    async def _stop_serving(self) -> None:
        if self._server is None:
            return
        socket = self._settings.socket
        is_ours = identify(socket) == self._own
        self._plugin.end_streams()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STREAMS_END_WITHIN_S):
                while self._plugin.streams:  # noqa: ASYNC110 - what counts is a number, and it takes a moment
                    await asyncio.sleep(0.01)
        await self._server.stop()
        self._server, self._own, self._registered_at = None, None, None
        if is_ours:
            with contextlib.suppress(OSError):
                socket.unlink()

    def _in_use(self) -> frozenset[str]:
        """Return the devices that pods have: by kubelet's own file, or all ever given where it says nothing."""
        file = self._settings.plugin_dir / CHECKPOINT_NAME
        identity = identify(file)
        if identity is None:
            return frozenset(self._plugin.given)
        if self._checkpoint is None or self._checkpoint[0] != identity:
            self._checkpoint = identity, _read_checkpoint(file, self._settings.told_resource)
        names = self._checkpoint[1]
        return frozenset(self._plugin.given) if names is None else frozenset(map(device_of, names))

    def _trouble(self, about: str, words: str, *, is_fatal: bool = True) -> None:
        """Note what is wrong, or that nothing is; said once, when it changes."""
        if words and words != self._said.get(about):
            _LOG.warning("%s", words, extra={"fields": {"about": about}})
        self._said[about] = words
        if words and is_fatal:
            self._troubles[about] = words
        else:
            self._troubles.pop(about, None)


def _read_checkpoint(file: Path, resource: str) -> frozenset[str] | None:
    try:
        # Whatever else lies there is not followed, and not waited for.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as content:  # noqa: PTH123 - a descriptor
            return read_checkpoint(content.read(_MOST_CHECKPOINT_BYTES), resource)
    except OSError:
        return None
