"""Where the API server is, and what becomes of whatever it answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import httpx2
import lightkube
from lightkube.config import client_adapter
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.kubeconfig import KubeConfig

from kmod_operator.kubernetes.errors import ApiError, NoApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_MOST_WORDS = 300
_LONGEST_WAIT_S = 300.0


@contextlib.asynccontextmanager
async def opened_client() -> AsyncIterator[lightkube.AsyncClient]:
    """Open the API server that this process is told of.

    Raises:
        NoApiError: it is told of none.
    """
    with _told_where():
        client = lightkube.AsyncClient(KubeConfig.from_env().get())
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def opened_http(connect_s: float) -> AsyncIterator[httpx2.AsyncClient]:
    """Open the same for plain requests: lightkube finds the server, trusts it, and renews the account's token.

    Raises:
        NoApiError: this process is told of none.
    """
    with _told_where():
        limit = ConnectionParams(timeout=httpx2.Timeout(connect_s))
        config = KubeConfig.from_env().get()
        if config is None:
            raise LookupError("it names no context")
        http: httpx2.AsyncClient = client_adapter.AsyncClient(config, limit)
    async with http:
        yield http


@contextlib.contextmanager
def _told_where() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        where = "the file of KUBECONFIG"
        if "KUBECONFIG" not in os.environ:
            where = "a service account's token in a pod, or KUBECONFIG elsewhere,"
        words = f"{type(error).__name__}: {error}"
        raise NoApiError(f"where the API server is, is not known; {where} would say it: {words}") from error


@contextlib.asynccontextmanager
async def told(what: str, within_s: float) -> AsyncIterator[None]:
    """Turn whatever comes of a question to the server into a sentence: nothing that it answers ends the program."""
    try:
        async with asyncio.timeout(within_s):
            yield
    except (TimeoutError, httpx2.TimeoutException) as error:  # the client's limit and ours are the same
        raise ApiError(f"{what}: the API server has not answered for {within_s:.0f} s") from error
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        words = f"{what}: the API server answers {status}: {shorten(error)}"
        raise ApiError(words, status=status, wait_s=retry_after(error.response)) from error
    except httpx2.TransportError as error:
        raise ApiError(f"{what}: the API server cannot be reached: {shorten(error)}") from error
    except ApiError:
        raise
    except Exception as error:
        raise ApiError(f"{what}: the API server answers nonsense: {shorten(error)}") from error


def shorten(error: Exception | str) -> str:
    """Return what an error says in one line that is not too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]}..."


def retry_after(response: httpx2.Response) -> float:
    """Return how long a server wants to be left alone; 0 where it does not say it."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT_S) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0  # noqa: PLR2004
