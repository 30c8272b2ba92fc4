"""Looks, decides and acts, again and again: by what is there, and not by what happened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING

from kmod_operator.cluster.acting import Outcome
from kmod_operator.cluster.lease import LostError
from kmod_operator.cluster.queue import Queue
from kmod_operator.kubernetes.errors import CONFLICT, ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_operator.cluster.acting import Actor
    from kmod_operator.cluster.indexes import Indexes
    from kmod_operator.cluster.looking import Cluster
    from kmod_operator.cluster.metrics import OperatorMetrics
    from kmod_operator.cluster.worlds import Worlds
    from kmod_operator.rollout.decision import Decision
    from kmod_operator.rollout.template import Templates
    from kmod_operator.rollout.world import Object, World

    Decide = Callable[[Object, Templates, World], Decision]

_LOG = logging.getLogger(__name__)
_SETTLE_S = 0.5
_RESYNC_S = 600.0
_NOT_KNOWN_S = 2.0


class Controller:
    """One pass after another.

    Args:
        cluster: what is kept; ``changed`` has to be called by it.
        decide: what to do, of what is wanted and what is there.

    Attributes:
        beat_at: when the loop was last seen to be alive, by the monotonic clock.
        trouble: why nothing can be decided, as a sentence; empty where it can.
    """

    def __init__(
        self,
        templates: Templates,
        metrics: OperatorMetrics,
        *,
        decide: Decide,
        settle_s: float = _SETTLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._templates, self._metrics, self._decide = templates, metrics, decide
        self._queue = Queue(settle_s=settle_s)
        self._clock = clock
        self._wake = asyncio.Event()
        self._pods_of: dict[str, tuple[str, ...]] = {}
        self._said: dict[str, str] = {}
        self.beat_at = clock()
        self.trouble = "it has just begun"
        self.working_since: float | None = None

    def connect(self, cluster: Cluster, worlds: Worlds, indexes: Indexes, actor: Actor) -> None:
        """Take the parts that call ``changed``."""
        self._cluster, self._worlds, self._indexes, self._actor = cluster, worlds, indexes, actor

    def changed(self, name: str) -> None:
        """Have an object looked at again; all of them where there is no name."""
        names = [name] if name else [key[1] for key in self._cluster.items.items]
        for one in names:
            self._queue.add(one, self._clock())
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            LostError: another program may work by now.
        """
        while True:
            self.beat_at = self._clock()
            lacks = self._cluster.lacks()
            if lacks != self.trouble:
                _LOG.info("%s", lacks or "all that has to be known is known")
            self.trouble = lacks
            key = None if lacks else self._queue.take(self._clock())
            if key is None:
                await self._wait(lacks)
                continue
            self.working_since = self._clock()
            await self._pass(key)
            self.working_since = None

    async def _wait(self, lacks: str) -> None:
        self._wake.clear()
        due_s = self._queue.wait_s(self._clock())
        seconds = _NOT_KNOWN_S if lacks or due_s is None else min(due_s, _NOT_KNOWN_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.01)):
                await self._wake.wait()
        if not lacks and (due := self._queue.wait_s(self._clock())):
            await asyncio.sleep(min(due, 0.05))  # a burst of changes wakes us for each of them

    async def _pass(self, key: str) -> None:
        """Look, decide and act for one object once."""
        item = self._cluster.items.get(key)
        if item is None:
            self._forget(key)
            return
        done = Outcome()
        with self._metrics.seconds.time():
            try:
                result = await self._work(key, item, done)
            except ApiError as error:
                result = self._failed(key, str(error), error.wait_s, is_news=error.status != CONFLICT)
            except LostError:
                raise
            except Exception as error:  # noqa: BLE001 - one object ends no other
                _LOG.exception("a pass ended", extra={"fields": {"driver": key}})
                result = self._failed(key, f"{type(error).__name__}: {error}", 0.0)
        self._metrics.reconciles.labels(result).inc()
        self._metrics.writes.inc(done.writes)

    async def _work(self, key: str, item: Object, done: Outcome) -> str:
        world = await self._worlds.make(item, self._pods_of.get(key, ()))
        decision = self._decide(item, self._templates, world)
        self._metrics.decided.say(key, decision.metrics)
        # The pods of nodes that were not asked for until now are needed at once.
        is_more = set(decision.pods_of) - set(self._pods_of.get(key, ()))
        self._pods_of[key] = decision.pods_of
        try:
            await self._actor.carry_out(item, decision, world, done)
        finally:
            if done.writes:  # who gets on, if slowly, does not come later and later
                self._queue.succeeded(key)
        if done.troubles:
            return self._failed(key, "; ".join(done.troubles[:3]), done.wait_s)
        self._said.pop(key, None)
        self._queue.succeeded(key)
        now = self._clock()
        if done.writes or is_more:
            self._queue.add(key, now)  # what was written is what the next step stands on
        waits = [_RESYNC_S * random.uniform(0.9, 1.1), decision.again_after_s, done.again_s]  # noqa: S311 - jitter
        self._queue.add_after(key, now, min(one for one in waits if one is not None))
        return "done"

    def _failed(self, key: str, words: str, wait_s: float, *, is_news: bool = True) -> str:
        share = random.uniform(0.5, 1.0)  # noqa: S311 - not all at once
        seconds = self._queue.failed(key, self._clock(), share=share, wait_s=wait_s)
        if is_news and self._said.get(key) != words:
            _LOG.warning("%s", words, extra={"fields": {"driver": key, "again_after_s": round(seconds, 1)}})
        self._said[key] = words
        return "failed"

    def _forget(self, key: str) -> None:
        self._queue.forget(key)
        self._pods_of.pop(key, None)
        self._said.pop(key, None)
        self._metrics.decided.forget(key)
        self._indexes.forget(key)
