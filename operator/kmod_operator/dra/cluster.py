"""What a driver asks of the API server, whoever asks it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kmod_operator.dra.pool import Slice

CONFLICT, FORBIDDEN, NOT_FOUND = 409, 403, 404


class ApiError(Exception):
    """The API server does not do what is asked; the message is a sentence.

    Attributes:
        status: the server's number; 0 where it gave none.
        wait_s: how long the server wants to be left alone.
    """

    def __init__(self, words: str, *, status: int = 0, wait_s: float = 0.0) -> None:
        super().__init__(words)
        self.status = status
        self.wait_s = wait_s


class NoApiError(Exception):
    """Nothing says where the API server is; the message says what would."""


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
