"""Looks at a cluster once, and writes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kmod_operator.cluster.indexes import Indexes
from kmod_operator.cluster.looking import Cluster
from kmod_operator.cluster.worlds import Worlds
from kmod_operator.kubernetes.errors import ApiError
from kmod_operator.rollout.rights import told_rights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kmod_operator.cluster.client import Client
    from kmod_operator.rollout.template import Templates
    from kmod_operator.rollout.world import Object, World

_POLL_S = 0.05
# Who asks once waits for a registry as long as one may take.
_ANSWERS_WITHIN_S = 60.0


class Looker:
    """Makes pictures of a cluster for people.

    Args:
        client: the API server.
        templates: what the operator was made for.
        outside: whether this is not the operator's pod: then no registry is asked, and what the operator may do is what
            it said itself.
        now: the time of day; None: that of this machine.
    """

    def __init__(
        self, client: Client, templates: Templates, *, outside: bool = False, now: datetime | None = None
    ) -> None:
        self._cluster = Cluster(client, templates, changed=lambda _: None)
        self._indexes = Indexes(
            client, self._cluster, templates, waits_s=_ANSWERS_WITHIN_S, asks_registries=not outside
        )
        self._worlds = Worlds(
            client, self._cluster, templates, self._indexes,
            now=lambda: now or datetime.now(UTC), rights=told_rights if outside else None,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def looking(self, within_s: float) -> AsyncIterator[None]:
        """Know all that has to be known until the end of the block.

        Raises:
            ApiError: it is not known within a time.
        """
        following = asyncio.create_task(self._cluster.run())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    while self._cluster.lacks():  # noqa: ASYNC110 - many kinds, each with an event of its own
                        await asyncio.sleep(_POLL_S)
            if lacks := self._cluster.lacks():
                raise ApiError(lacks)
            yield
        finally:
            following.cancel()
            self._indexes.end()
            await asyncio.gather(following, return_exceptions=True)

    def items(self) -> dict[str, dict[str, Any]]:
        """Return the vendor's objects, by name."""
        return {key[1]: item for key, item in self._cluster.items.items.items()}

    async def world(self, item: Object, node: str) -> World:
        """Return what there is for one of them, with the pods of a node."""
        return await self._worlds.make(item, [node], keeps=False)
