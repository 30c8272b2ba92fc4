"""What a driver asks of the API server, whoever asks it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kmod_operator.dra.pool import Slice


class Api(Protocol):
    """What a driver asks of the API server; each raises ApiError."""

    async def node_uid(self) -> str:
        """Return the UID of this node."""

    async def slices(self) -> list[Slice]:
        """Return all slices of this driver on this node; the status is 404 where the server knows no slices."""

    async def create(self, item: Slice) -> Slice:
        """Create a slice, and return what the server made of it."""

    async def replace(self, item: Slice) -> Slice:
        """Replace a slice; the status is 409 where it was changed since it was read."""

    async def delete(self, name: str) -> None:
        """Delete a slice; one that is gone is no error."""

    async def claim(self, namespace: str, name: str) -> Any:
        """Return a claim."""
