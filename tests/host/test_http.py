"""Servers that are busy, slow, or say too much."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from builder.errors import (
    BusyServerError,
    SourceError,
    SourceGoneError,
    SourceRefusedError,
    SourceUnreachableError,
)
from builder.host.http import check_status, open_client, read_chunks, with_retries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Drip(httpx.SyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks


def _read(chunks: list[bytes], most: int = 10**6, *, seconds: float = 0.0, promised: int | None = None) -> bytes:
    headers = {"Content-Length": str(promised)} if promised is not None else {}
    answer = httpx.Response(200, headers=headers, stream=_Drip(chunks))
    times = iter([0.0, *(seconds * number for number in range(1, len(chunks) + 2))])
    return b"".join(read_chunks(answer, most, "it", clock=lambda: next(times)))


def test_a_server_that_drips_is_given_up() -> None:
    assert _read([b"x" * 100_000] * 4, seconds=20.0) == b"x" * 400_000
    assert _read([b"x"] * 20, seconds=1.0) == b"x" * 20, "a short answer may take a moment"
    with pytest.raises(SourceUnreachableError, match=r"sent 2 bytes in 40 s, which is too slow"):
        _read([b"x"] * 20, seconds=20.0)


def test_an_answer_that_is_too_long_or_too_short() -> None:
    with pytest.raises(SourceError, match="longer than 3 bytes"):
        _read([b"xx", b"xx"], most=3)
    with pytest.raises(SourceUnreachableError, match="ended after 2 of 5 bytes"):
        _read([b"xx"], promised=5)
    assert _read([b"xx"], promised=2) == b"xx"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, SourceGoneError), (410, SourceGoneError), (429, BusyServerError), (500, BusyServerError), (503, BusyServerError), (408, BusyServerError), (425, BusyServerError), (401, SourceRefusedError), (403, SourceRefusedError), (407, SourceRefusedError), (418, SourceError), (204, SourceError)],
)  # fmt: skip
def test_absent_refused_and_busy_are_three_things(status: int, kind: type[SourceError]) -> None:
    with pytest.raises(SourceError) as caught:
        check_status(httpx.Response(status), "it", refusal="log in")
    assert type(caught.value) is kind
    assert (caught.value.hint == "log in") is (status in {401, 403, 407})


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("7", 7.0),
        ("900", 60.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", 0.5),
        ("-1", 0.5),
        ("²", 0.5),
        ("9" * 400, 0.5),
    ],
)
def test_the_pause_that_a_server_asks_for(header: str, pause: float) -> None:
    slept: list[float] = []
    answers = iter([httpx.Response(429, headers=[(b"Retry-After", header.encode())]), httpx.Response(200)])

    def read() -> str:
        check_status(next(answers), "it", refusal="")
        return "read"

    assert (with_retries(read, sleep=slept.append), slept) == ("read", [pause])


def test_tries_end_and_definite_answers_are_not_tried_again() -> None:
    slept: list[float] = []
    tries = []

    def fail(error: SourceError) -> None:
        tries.append(1)
        raise error

    with pytest.raises(SourceUnreachableError, match="down") as caught:
        with_retries(lambda: fail(SourceUnreachableError("down")), sleep=slept.append)
    assert (len(tries), slept, caught.value.hint) == (5, [0.5, 1.0, 2.0, 4.0], "try again later; what was read is kept")
    with pytest.raises(SourceGoneError):
        with_retries(lambda: fail(SourceGoneError("gone")), sleep=slept.append)
    assert len(tries) == 6


def test_what_is_trusted_is_read_once_for_all_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 20 ms; another file to trust is read all the same, and who does not verify trusts everybody alone."""
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(ssl.create_default_context())
        return made[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", make)
    opened: list[dict[str, Any]] = []
    monkeypatch.setattr(httpx, "Client", lambda **options: opened.append(options))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "one.pem"))
    open_client()
    open_client(timeout_s=3.0, follow_redirects=True)
    assert made == [opened[0]["verify"]] == [opened[1]["verify"]]
    assert made[0].verify_mode == ssl.CERT_REQUIRED
    assert [(options["timeout"], options["follow_redirects"]) for options in opened] == [(30.0, False), (3.0, True)]
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "another.pem"))
    open_client()
    open_client(is_verified=False)
    assert [options["verify"] for options in opened[2:]] == [made[1], False]
    assert len(made) == 2
