"""Reading over HTTP from servers that may be down, busy, slow or hostile: tries, patience, bounds of size and time.

httpx is imported by who opens a client: it takes longer than all that a plan without network does.
"""

from __future__ import annotations

import functools
import os
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from builder.errors import (
    BusyServerError,
    DamagedError,
    SourceError,
    SourceGoneError,
    SourceRefusedError,
    SourceUnreachableError,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterator

    import httpx

_T = TypeVar("_T")

_TRIES = 5
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
# A server that drips would pass every time-out between two bytes: after a while it must have kept a least speed.
_GRACE_S = 30.0
_LEAST_BYTES_PER_S = 4096


def open_client(
    *,
    timeout_s: float = 30.0,
    follow_redirects: bool = False,
    is_verified: bool = True,
    carrier: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """Return a client; all that verify certificates share what this machine trusts, which takes long to read.

    Args:
        timeout_s: how long a server may be silent.
        follow_redirects: go where a server sends us.
        is_verified: verify certificates.
        carrier: what carries requests, in place of the network.
    """
    import httpx  # noqa: PLC0415 - see above

    verify: ssl.SSLContext | bool = False
    if is_verified and carrier is None:
        verify = _trust(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return httpx.Client(verify=verify, timeout=timeout_s, transport=carrier, follow_redirects=follow_redirects)


@functools.cache
def _trust(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """Return what is trusted where these variables, which httpx reads, say so: 20 ms, which each client would take."""
    import httpx  # noqa: PLC0415 - see above

    return httpx.create_ssl_context()


def with_retries(read: Callable[[], _T], *, sleep: Callable[[float], None] = time.sleep) -> _T:
    """Return what ``read`` returns, trying again with growing pauses while no answer comes.

    Raises:
        SourceUnreachableError: no try got an answer. Every other error is passed on at once.
    """
    for attempt in range(_TRIES):
        try:
            return read()
        except SourceUnreachableError as error:
            if attempt == _TRIES - 1:
                hint = error.hint or "try again later; what was read is kept"
                raise SourceUnreachableError(error.message, hint=hint) from None
            asked_s = error.pause_s if isinstance(error, BusyServerError) else None
            sleep(pause_s(attempt) if asked_s is None else min(asked_s, _LONGEST_PAUSE_S))
    raise AssertionError


def pause_s(attempt: int) -> float:
    """Return how long to wait after a number of failed attempts."""
    pause: float = _PAUSE_S * 2**attempt
    return min(pause, _LONGEST_PAUSE_S)


_OK = frozenset({200})
# RFC 9110, section 15.5, RFC 8470 and RFC 6585: who asks, a proxy included, is not let in; and: ask again later.
_REFUSED = frozenset({401, 403, 407})
_BUSY = frozenset({408, 425, 429})


def check_status(answer: httpx.Response, what: str, *, refusal: str, accepted: Collection[int] = _OK) -> None:
    """Turn a status into the right kind of error: absent, refused, or no answer.

    Args:
        answer: any answer but a redirect.
        what: what was asked for.
        refusal: what to do when access is refused.
        accepted: statuses that are what was hoped for.

    Raises:
        SourceGoneError: the server says that there is none.
        SourceUnreachableError: it is busy or broken.
        SourceRefusedError: it does not let us in.
        SourceError: it answers something else.
    """
    status = answer.status_code
    if status in accepted:
        return
    if status in _REFUSED:
        raise SourceRefusedError(f"{what}: the server refuses access (HTTP {status})", hint=refusal)
    if status in {404, 410}:
        raise SourceGoneError(f"{what}: the server says that it does not exist (HTTP {status})")
    if status in _BUSY or status >= 500:  # noqa: PLR2004 - RFC 9110
        raise BusyServerError(
            f"{what}: the server answers HTTP {status}", _retry_after(answer.headers.get("Retry-After"))
        )
    raise SourceError(f"{what}: the server answers HTTP {status}")


def read_chunks(
    answer: httpx.Response,
    most: int,
    what: str,
    *,
    count: Callable[[int], object] = abs,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[bytes]:
    """Yield an answer's bytes as they come, unless they are more than ``most`` or come too slowly.

    Raises:
        SourceUnreachableError: too slow, or shorter than the server promised.
        DamagedError: too long.
    """
    size, started = 0, clock()
    for chunk in answer.iter_raw():  # as they come: chunks of one size would wait for a server that drips
        size += len(chunk)
        count(len(chunk))
        if size > most:
            raise DamagedError(f"{what}: the answer is longer than {most} bytes")
        elapsed = clock() - started
        if elapsed > _GRACE_S and size < elapsed * _LEAST_BYTES_PER_S:
            raise SourceUnreachableError(f"{what}: the server sent {size} bytes in {elapsed:.0f} s, which is too slow")
        yield chunk
    promised = answer.headers.get("Content-Length", "")
    if re.fullmatch(r"\d{1,18}", promised) and int(promised) > size:
        raise SourceUnreachableError(f"{what}: the answer ended after {size} of {promised} bytes")


def _retry_after(text: str | None) -> float | None:
    """Read Retry-After: seconds or a date (RFC 9110, section 10.2.3)."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
