"""The loop of every program that tells of a node's devices: one instance works, looks, and sets right what is not.

There is one loop and no watch. Kubelet that restarts, a socket that somebody removed, a device that came, a runtime's
file that is gone: each is seen by looking, and mended at the next look. That needs no inotify, whose instances run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from kmod_operator.node.claim import Claim
from kmod_operator.node.troubles import Troubles
from kmod_operator.node.watch import DeviceWatch
from kmod_operator.status_server import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kmod_operator.devices.source import DeviceSource
    from kmod_operator.node.metrics import LookMetrics
    from kmod_operator.settings import Settings

_ALIVE_WITHIN_S = 60.0


class NodeAgent(ABC):
    """Whoever tells of the devices of one resource on one node.

    Args:
        settings: names and places.
        source: knows the devices.
        metrics: counts looks.
        by_runtime: whether the container runtime's file is written.
        first: what has to be done before anybody is told of devices; it returns a sentence while it is not done, and
            is asked again at the next look.
    """

    def __init__(
        self,
        settings: Settings,
        source: DeviceSource,
        metrics: LookMetrics,
        *,
        by_runtime: bool,
        first: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self._settings = settings
        self._troubles = Troubles()
        self._watch = DeviceWatch(settings, source, metrics, self._troubles, by_runtime=by_runtime)
        self._first = first
        self._alive_at = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; then nothing of ours listens any more. The runtime's file stays: pods need it."""
        claim = Claim(self._settings.claim_file, self._troubles.note)
        with claim:
            try:
                while not stop.is_set():
                    self._alive_at = time.monotonic()
                    claimed = claim.is_ours()
                    self._troubles.note("start", "")
                    if claimed and await self._is_begun():
                        await self._turn()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._settings.scan_s):
                            await stop.wait()
            finally:
                await self._end()

    def is_alive(self) -> Answer:
        quiet_s = time.monotonic() - self._alive_at
        limit_s = max(_ALIVE_WITHIN_S, 10 * self._settings.scan_s)
        if quiet_s > limit_s:
            return Answer(well=False, words=f"the loop has not turned for {quiet_s:.0f} s")
        return Answer(well=True, words="the loop turns")

    @abstractmethod
    def is_ready(self) -> Answer:
        """Tell whether kubelet knows us, and devices are known to whoever gives them."""

    @abstractmethod
    async def _turn(self) -> None:
        """Look, tell, and set right what is not as it should be."""

    @abstractmethod
    async def _end(self) -> None:
        """Listen no more."""

    async def _is_begun(self) -> bool:
        if self._first is None:
            return True
        words = await self._first()
        self._troubles.note("first", words)
        if not words:
            self._first = None
        return not words
