"""What an API server does not do, as sentences. Pure."""

from __future__ import annotations

CONFLICT, FORBIDDEN, GONE, NOT_FOUND, TOO_MANY = 409, 403, 410, 404, 429


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
