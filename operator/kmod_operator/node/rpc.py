"""A socket on which kubelet is answered by gRPC, whatever it asks there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpclib.server import Server

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from grpclib._typing import IServable


class SocketServer:
    """Answers on one socket."""

    def __init__(self, services: Collection[IServable]) -> None:
        self._server = Server(services)

    async def start(self, socket: Path) -> None:
        """Listen; whatever lies there is replaced, also a link.

        Raises:
            OSError: it cannot be made there.
        """
        socket.unlink(missing_ok=True)  # noqa: ASYNC240 - at once, and before anybody is served
        await self._server.start(path=str(socket))

    async def stop(self) -> None:
        """Listen no more, and end what is open."""
        self._server.close()
        await self._server.wait_closed()
