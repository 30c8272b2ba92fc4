"""Which of several programs works: the one that holds the Lease, by the rules of Kubernetes' own client.

A holder is believed dead when its record has not changed for as long as it said, by our own clock since we saw it
change: what clocks of other machines say plays no part. Who cannot renew in time ends, before anybody else may begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kmod_operator.cluster.kinds import LEASE
from kmod_operator.kubernetes.errors import CONFLICT, ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kmod_operator.cluster.client import Client

_LOG = logging.getLogger(__name__)
_MOST_SECONDS = 3600


def awake_or_not() -> float:
    """Return seconds of a clock that goes on while the machine sleeps: others go on as well."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LostError(Exception):
    """Another program may hold the Lease now, and nothing more may be written; the message is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """For how long a Lease is held, how long a holder tries to renew it, and how often."""

    lease_s: int = 15
    renew_s: float = 10.0
    retry_s: float = 2.0


class Election:
    """One candidate.

    Args:
        client: the API server.
        namespace, name: of the Lease.
        identity: of this program; no other has the same.

    Attributes:
        holder: who held it when it was last seen.
        is_leader: whether we do.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: Times | None = None,
        clock: Callable[[], float] = awake_or_not,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._namespace, self._name, self._identity = namespace, name, identity
        self._times = times or Times()
        self._clock, self._sleep = clock, sleep
        self._seen: dict[str, Any] | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._trouble = ""
        self.holder = ""
        self.is_leader = False

    async def acquire(self) -> None:
        """Wait until we hold it."""
        began = self._clock()
        while not await self._try():
            await self._sleep(self._times.retry_s * random.uniform(1.0, 2.2))  # noqa: S311 - as client-go: not all at once
            began = self._clock()
        self.is_leader = True
        # Others count from the moment of the write, which may be long before its answer.
        self._renewed_at = began
        _LOG.info("this program works now", extra={"fields": {"lease": self._name, "holder": self._identity}})

    async def hold(self) -> None:
        """Renew it until cancelled.

        Raises:
            LostError: somebody else has it, or it could not be renewed in time.
        """
        times = self._times
        while True:
            await self._sleep(times.retry_s)
            began = self._clock()
            left = self._renewed_at + times.renew_s - began
            if left <= 0:
                self.is_leader = False
                raise LostError(f"the lease {self._name} was not renewed for {times.renew_s:.0f} s: {self._trouble}")
            held = False
            # A server that takes a request and does not answer may not hold us beyond our time.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    held = await self._try()
            if held:
                self._renewed_at = began
            elif self.holder != self._identity:
                self.is_leader = False
                raise LostError(f"the lease {self._name} is held by {self.holder}")

    def may_act(self) -> bool:
        """Tell whether nobody else can hold it yet."""
        return self.is_leader and self._clock() < self._renewed_at + self._times.renew_s

    def guard(self) -> None:
        """Stand before each write.

        Raises:
            LostError: somebody else may hold it by now.
        """
        if not self.may_act():
            raise LostError(f"the lease {self._name} was not renewed in time: nothing more is written")

    async def release(self) -> None:
        """Let another have it at once; one that cannot be released runs out."""
        if not self.is_leader or self._seen is None:
            return
        self.is_leader = False
        with contextlib.suppress(ApiError):
            spec = {**self._spec(self._seen), "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
            await self._client.replace(LEASE, {**self._seen, "spec": spec}, within_s=2.0)
            _LOG.info("the lease is released", extra={"fields": {"lease": self._name}})

    async def _try(self) -> bool:
        """Take or renew it, where that may be; tell whether we hold it."""
        try:
            return await self._take()
        except ApiError as error:
            if error.status == CONFLICT:  # somebody was faster; what is there now is seen the next time
                return False
            if str(error) != self._trouble:
                _LOG.warning("%s", error)
            self._trouble = str(error)
            return False

    async def _take(self) -> bool:
        limit = self._times.renew_s / 2
        if self.is_leader and self._seen is not None:
            # Nobody takes it from us while we renew it: what we saw last is what there is, or the server says no.
            with contextlib.suppress(ApiError):
                self._see(await self._client.replace(LEASE, self._wanted(self._seen), within_s=limit))
                return True
        found = await self._client.get_if_there(LEASE, self._name, self._namespace)
        if found is None:
            self._see(await self._client.create(LEASE, self._wanted(None)))
            return True
        if self._seen is None or self._record(found) != self._record(self._seen):
            self._see(found)
        else:
            self._seen = found
        if self.holder not in {"", self._identity} and not self._is_over(found):
            return False
        self._see(await self._client.replace(LEASE, self._wanted(found), within_s=limit))
        return True

    def _see(self, found: dict[str, Any]) -> None:
        """Note a record that has changed, and when we saw it."""
        self._seen, self._seen_at = found, self._clock()
        self.holder = str(self._spec(found).get("holderIdentity") or "")
        self._trouble = ""

    def _is_over(self, found: dict[str, Any]) -> bool:
        seconds = self._spec(found).get("leaseDurationSeconds")
        lasts = seconds if isinstance(seconds, int) and 0 < seconds <= _MOST_SECONDS else self._times.lease_s
        return self._clock() >= self._seen_at + lasts

    def _wanted(self, found: dict[str, Any] | None) -> dict[str, Any]:
        before = self._spec(found) if found else {}
        now = _now()
        is_ours = before.get("holderIdentity") == self._identity
        changes = before.get("leaseTransitions")
        count = changes if isinstance(changes, int) else 0
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._times.lease_s,
            "acquireTime": before.get("acquireTime", now) if is_ours else now,
            "renewTime": now,
            "leaseTransitions": count if is_ours or not found else count + 1,
        }
        metadata = found["metadata"] if found else {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": LEASE.api, "kind": LEASE.kind, "metadata": metadata, "spec": spec}

    @staticmethod
    def _spec(found: dict[str, Any]) -> dict[str, Any]:
        spec = found.get("spec")
        return spec if isinstance(spec, dict) else {}

    def _record(self, found: dict[str, Any]) -> tuple[Any, ...]:
        spec = self._spec(found)
        return tuple(spec.get(name) for name in ("holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime"))


def _now() -> str:
    """Return the time as others read it, who may look at it; nobody judges by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
