"""What runs once in a cluster: waits until it is the one that works, works, and ends when it may not any more."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from kmod_operator.cluster.acting import Actor
from kmod_operator.cluster.controller import Controller
from kmod_operator.cluster.indexes import Indexes
from kmod_operator.cluster.lease import Election, LostError
from kmod_operator.cluster.looking import Cluster
from kmod_operator.cluster.metrics import OperatorMetrics
from kmod_operator.cluster.telling import Teller
from kmod_operator.cluster.worlds import Worlds
from kmod_operator.rollout.names import MANAGER
from kmod_operator.status_server import Answer

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from kmod_operator.cluster.cache import Limits
    from kmod_operator.cluster.client import Client
    from kmod_operator.cluster.controller import Decide
    from kmod_operator.cluster.lease import Times
    from kmod_operator.rollout.template import Templates
    from kmod_operator.settings import OperatorSettings

_LOG = logging.getLogger(__name__)
# How long the loop may be silent: a pass that writes to hundreds of nodes takes minutes where the server is slow.
_LONGEST_PASS_S = 600.0
_LONGEST_SILENCE_S = 60.0
_MOST_CANCELS, _ENDS_WITHIN_S = 4, 0.5
_LONGEST_UNHEARD_S = 900.0


class Operator:
    """All parts.

    Args:
        settings: who and where we are.
        templates: what the operator was made for.
        client: the API server.
        decide: what to do, of what is wanted and what there is.
    """

    def __init__(
        self,
        settings: OperatorSettings,
        templates: Templates,
        client: Client,
        *,
        decide: Decide,
        times: Times | None = None,
        limits: Limits | None = None,
        settle_s: float = 0.5,
    ) -> None:
        self._metrics = OperatorMetrics()
        self.registry = self._metrics.registry
        self.election = Election(client, namespace=settings.namespace, name=MANAGER, identity=settings.pod, times=times)
        self.controller = Controller(templates, self._metrics, decide=decide, settle_s=settle_s)
        self.cluster = Cluster(
            client, templates, changed=self.controller.changed, restarted=self._restarted, limits=limits
        )
        self._indexes = Indexes(
            client, self.cluster, templates, changed=self.controller.changed, guard=self.election.guard
        )
        worlds = Worlds(client, self.cluster, templates, self._indexes)
        teller = Teller(client, manager=MANAGER, instance=settings.pod)
        actor = Actor(client, self.cluster, templates, teller, guard=self.election.guard)
        self.controller.connect(self.cluster, worlds, self._indexes, actor)

    async def run(self, stop: asyncio.Event) -> int:
        """Work until told to stop; return 0, or 1 where another program works now."""
        stopped = asyncio.create_task(stop.wait())
        try:
            code = await self._take_turn(stopped)
        finally:
            stopped.cancel()
            self._indexes.end()
        await self.election.release()  # not after an error: what did not end may still act
        return code

    async def _take_turn(self, stopped: asyncio.Task[Any]) -> int:
        if not await self._first(stopped, self.election.acquire()):
            return 0
        try:
            await self._first(stopped, self._work())
        except BaseExceptionGroup as errors:
            if errors.split(LostError)[1] is not None:
                raise
            _LOG.error("it ends: %s", _first_words(errors))
            return 1
        return 0

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.election.hold())
            tasks.create_task(self.cluster.run())
            tasks.create_task(self.controller.run())

    @staticmethod
    async def _first(stopped: asyncio.Task[Any], work: Coroutine[Any, Any, None]) -> bool:
        """Tell whether work came to its end; it is broken off where we are stopped."""
        working = asyncio.create_task(work)
        try:
            await asyncio.wait({stopped, working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for _ in range(_MOST_CANCELS):  # a part that lost the first is told again
                if working.done():
                    break
                working.cancel()
                await asyncio.wait({working}, timeout=_ENDS_WITHIN_S)
        if not working.done():
            raise RuntimeError("a part of the operator does not end")
        if working.cancelled():
            return False
        working.result()
        return not stopped.done()

    def is_alive(self) -> Answer:
        """Tell whether a restart would help: the loop stands still, or nothing was heard for long."""
        if not self.election.is_leader:
            return Answer(well=True, words=self._waits())
        now = time.monotonic()
        controller = self.controller
        if controller.working_since is not None:
            since = now - controller.working_since
            return Answer(well=since < _LONGEST_PASS_S, words=f"a pass has lasted for {since:.0f} s")
        silent = now - controller.beat_at
        if silent > _LONGEST_SILENCE_S:
            return Answer(well=False, words=f"the loop has stood still for {silent:.0f} s")
        unheard = now - max((self.cluster.items.heard_at, self.cluster.nodes.heard_at))
        if unheard > _LONGEST_UNHEARD_S:
            return Answer(well=False, words=f"the API server was not heard for {unheard:.0f} s")
        return Answer(well=True, words="it works")

    def is_ready(self) -> Answer:
        """Tell whether it does its work; one that waits for its turn does."""
        if not self.election.is_leader:
            return Answer(well=True, words=self._waits())
        trouble = self.controller.trouble
        return Answer(well=not trouble, words=trouble or "it works")

    def _waits(self) -> str:
        return f"another program works: {self.election.holder}" if self.election.holder else "it waits for the lease"

    def _restarted(self, kind: str) -> None:
        self._metrics.restarts.labels(kind).inc()


def _first_words(errors: BaseExceptionGroup[BaseException]) -> str:
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return str(first)
