"""Keeps what there is of a kind: listed once, then watched; what a program needs of an object, and no more of it.

A watch can fall silent without an error, for hours (a proxy that forgot it, a cut network): each read has a limit, and
silence is a fault after which all is listed anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kmod_operator.cluster.kinds import Kind, Scope, name_of, namespace_of
from kmod_operator.kubernetes.errors import FORBIDDEN, GONE, NOT_FOUND, ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from kmod_operator.cluster.client import Change, Client

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
Key = tuple[str, str]
"""Namespace (empty where the kind has none) and name."""


class State(StrEnum):
    """What is known of a kind."""

    UNKNOWN = "unknown"
    """It was not listed yet."""
    LISTED = "listed"
    ABSENT = "absent"
    """The server does not have the kind."""
    FORBIDDEN = "forbidden"
    """This account may not list it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take.

    Attributes:
        server_s: after which the server ends a watch by itself; it is begun again where it ended.
        silence_s: after which a watch is broken.
        bookmarked_silence_s: likewise, of a server that sends bookmarks, which it does every minute.
        look_again_s: until a kind that is absent, or may not be listed, is looked for again.
        first_wait_s, longest_wait_s: after the first failure, and after many.
    """

    server_s: int = 240
    silence_s: float = 270.0
    bookmarked_silence_s: float = 150.0
    look_again_s: float = 60.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0


class Cache(Generic[_T]):
    """What there is of one kind in one scope.

    Args:
        client: the API server.
        api, kind: which kind; where the server has it is asked of the server.
        scope: which of them.
        trim: makes of an object what is kept of it; the object says its kind, which the parts of a list do not.
        told: called for each change that matters: key, what was, what is; each may be None.
        same: whether a change of an object matters to nobody; it is kept, but not told.
        restarted: called when a watch has to begin anew with a list.

    Attributes:
        state: what is known.
        trouble: why it is not up to date, as a sentence; empty where it is.
        heard_at: when the server was last heard, by the monotonic clock.
    """

    def __init__(
        self,
        client: Client,
        api: str,
        kind: str,
        *,
        trim: Callable[[dict[str, Any]], _T],
        told: Callable[[Key, _T | None, _T | None], None],
        scope: Scope | None = None,
        same: Callable[[_T, _T], bool] = lambda one, other: one == other,
        restarted: Callable[[str], None] = lambda _: None,
        limits: Limits | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.api, self.kind_name = api, kind
        self.scope = scope or Scope()
        self.kind: Kind | None = None
        self.state = State.UNKNOWN
        self.trouble = ""
        self.heard_at = clock()
        self.broken_since: float | None = None
        self._client = client
        self._trim, self._told, self._same, self._restarted = trim, told, same, restarted
        self._limits = limits or Limits()
        self._sleep, self._clock = sleep, clock
        self._items: dict[Key, _T] = {}
        self._versions: dict[Key, str] = {}
        self._version = ""
        self._bookmarks = False
        self._failures = 0
        self.listed = asyncio.Event()

    @property
    def name(self) -> str:
        return f"{self.api} {self.kind_name}"

    @property
    def items(self) -> Mapping[Key, _T]:
        return self._items

    def __iter__(self) -> Iterator[_T]:
        return iter(self._items.values())

    def get(self, name: str, namespace: str = "") -> _T | None:
        return self._items.get((namespace, name))

    def broken_for(self) -> float:
        """Return for how many seconds it has not been up to date."""
        return self._clock() - self.broken_since if self.broken_since is not None else 0.0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self._follow()
            except ApiError as error:
                await self._sleep(self._failed(error))

    async def _follow(self) -> None:
        """List, and watch, until the watch breaks."""
        if self.kind is None:
            found = await self._client.find(self.api, self.kind_name)
            if found is None:
                self._settle(State.ABSENT)
                await self._sleep(self._limits.look_again_s * random.uniform(0.8, 1.2))  # noqa: S311 - not all at once
                return
            self.kind = found
        await self._list(self.kind)
        while True:
            began = self._clock()
            await self._watch(self.kind)
            if self._clock() - began < 1.0:  # a server that ends watches at once is not asked in a circle
                await self._sleep(1.0)

    async def _list(self, kind: Kind) -> None:
        found: dict[Key, _T] = {}
        versions: dict[Key, str] = {}
        version = ""
        async for page in self._client.pages(kind, self.scope):
            # Of a list in several parts all have the version of the first.
            version = version or page.version
            for item in page.items:
                key = (namespace_of(item), name_of(item))
                found[key] = self._kept(key, item)
                versions[key] = str(item["metadata"].get("resourceVersion", ""))
        before, self._items, self._versions, self._version = self._items, found, versions, version
        self._settle(State.LISTED)
        for key in {*before, *found}:
            self._tell(key, before.get(key), found.get(key))

    async def _watch(self, kind: Kind) -> None:
        limits = self._limits
        silence_s = limits.bookmarked_silence_s if self._bookmarks else limits.silence_s
        changes = self._client.watch(kind, self.scope, self._version, server_s=limits.server_s, silence_s=silence_s)
        async for change in changes:
            self._failures = 0  # and not after a list: one may be allowed where the watch is not
            self._note(change)
        self._failures = 0

    def _note(self, change: Change) -> None:
        self.heard_at = self._clock()
        self._version = change.item["metadata"]["resourceVersion"]
        if change.type == "BOOKMARK":
            self._bookmarks = True
            return
        key = (namespace_of(change.item), name_of(change.item))
        if _is_older(self._version, self._versions.get(key, "")):
            return  # what we wrote ourselves is newer than what the watch has come to
        before = self._items.get(key)
        if change.type == "DELETED":
            self._items.pop(key, None)
            self._versions.pop(key, None)
            self._tell(key, before, None)
            return
        self._versions[key] = self._version
        self._items[key] = now = self._kept(key, change.item)
        self._tell(key, before, now)

    def written(self, item: dict[str, Any]) -> None:
        """Take what the server answered to a write of ours, before the watch says it."""
        key = (namespace_of(item), name_of(item))
        version = str(item["metadata"].get("resourceVersion", ""))
        if _is_older(version, self._version):
            return  # the watch is further: it has said this, and perhaps that the object is gone
        if self.state == State.LISTED and not _is_older(version, self._versions.get(key, "")):
            self._items[key], self._versions[key] = self._kept(key, item), version

    def _kept(self, key: Key, item: dict[str, Any]) -> _T:
        try:
            return self._trim({"apiVersion": self.api, "kind": self.kind_name, **item})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            words = f"{type(error).__name__}: {error}"
            raise ApiError(f"{self.kind_name} {key[1]} is nothing that can be read: {words}") from error

    def _tell(self, key: Key, before: _T | None, now: _T | None) -> None:
        if before is None or now is None or not self._same(before, now):
            self._told(key, before, now)

    def _settle(self, state: State) -> None:
        """Note that the server has answered."""
        if state != State.LISTED and self._items:
            before, self._items, self._versions = self._items, {}, {}
            for key, item in before.items():
                self._tell(key, item, None)
        changed = state != self.state
        self.state, self.trouble, self.broken_since = state, "", None
        self.heard_at = self._clock()
        self.listed.set()
        if changed:
            _LOG.info("a kind is known", extra={"fields": {"kind": self.name, "state": str(state)}})
            self._told(("", ""), None, None)

    def _failed(self, error: ApiError) -> float:
        """Note a failure, and return how long to wait."""
        self._restarted(self.kind_name)
        if error.status == GONE and self._failures == 0:
            # All is listed anew, which is no failure; but a server that says it again and again is left alone.
            self._failures = 1
            return 0.0
        limits = self._limits
        if error.status == FORBIDDEN:
            self._settle(State.FORBIDDEN)
            self.trouble = str(error)
            return limits.look_again_s * random.uniform(0.8, 1.2)  # noqa: S311 - not all at once
        if error.status == NOT_FOUND:
            self.kind = None  # the kind is gone, or is elsewhere now
        if str(error) != self.trouble:
            _LOG.warning("%s", error)
        self.trouble = str(error)
        self.broken_since = self._clock() if self.broken_since is None else self.broken_since
        self._failures += 1
        seconds: float = min(limits.first_wait_s * 2 ** min(self._failures - 1, 16), limits.longest_wait_s)
        return max(seconds * random.uniform(0.5, 1.0), error.wait_s)  # noqa: S311 - not all at once


def _is_older(version: str, known: str) -> bool:
    """Tell whether a version is before another; versions that are no numbers have no order."""
    return version.isdecimal() and known.isdecimal() and int(version) < int(known)
