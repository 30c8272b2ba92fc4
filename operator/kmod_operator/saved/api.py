"""A client of a saved cluster: the client of a real one, with another way for its requests."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx2
import msgspec

from kmod_operator.cluster.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kmod_operator.saved.answers import SavedCluster


class _Saved(httpx2.AsyncBaseTransport):
    def __init__(self, cluster: SavedCluster) -> None:
        self._cluster = cluster

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.params.get("watch") == "true":
            return httpx2.Response(200, content=_silence())
        found = self._cluster.answer(request.method, request.url.path, dict(request.url.params))
        return httpx2.Response(found.status, content=msgspec.json.encode(found.body))


async def _silence() -> AsyncIterator[bytes]:
    """Say nothing, for nothing happens any more."""
    await asyncio.Event().wait()
    yield b""


@contextlib.asynccontextmanager
async def open_saved(cluster: SavedCluster) -> AsyncIterator[Client]:
    """Open a saved cluster; no request leaves the process."""
    async with httpx2.AsyncClient(transport=_Saved(cluster), base_url="http://saved", trust_env=False) as http:
        yield Client(http)
