from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

import httpx
import pytest

from builder.errors import (
    SourceError,
    SourceGoneError,
    SourceRefusedError,
    SourceUnreachableError,
)
from builder.sources.debian.lock import LockedPackage
from builder.sources.download import Downloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CONTENT = b"a package" * 100
_PACKAGE = LockedPackage(
    url="http://archive.test/a.deb",
    size=len(_CONTENT),
    installed=1,
    sha256=hashlib.sha256(_CONTENT).hexdigest(),
)


class _Server:
    """Answers in turn with what it is given; an exception is raised, a number is a status."""

    def __init__(self, *answers: bytes | int | Exception) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        stream = httpx.ByteStream(b"" if isinstance(answer, int) else answer)
        return httpx.Response(answer if isinstance(answer, int) else 200, stream=stream)


def _downloads(
    folder: Path, server: Callable[[httpx.Request], httpx.Response], sleep: Callable[[float], None] = lambda _: None
) -> Downloads:
    return Downloads(folder / "cache", client=httpx.Client(transport=httpx.MockTransport(server)), sleep=sleep)


def test_fetches_once(tmp_path: Path) -> None:
    server = _Server(_CONTENT)
    downloads = _downloads(tmp_path, server)
    assert not downloads.has(_PACKAGE)
    assert downloads.fetch(_PACKAGE).read_bytes() == _CONTENT
    assert downloads.fetch(_PACKAGE) == downloads.path(_PACKAGE)
    assert server.asked == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [_PACKAGE.sha256]


@pytest.mark.parametrize("fault", [503, 429, httpx.ConnectError("no route"), _CONTENT[:-1]])
def test_tries_again_after_a_passing_fault(tmp_path: Path, fault: bytes | int | Exception) -> None:
    pauses: list[float] = []
    server = _Server(fault, fault, _CONTENT)
    assert _downloads(tmp_path, server, pauses.append).fetch(_PACKAGE).read_bytes() == _CONTENT
    assert pauses == [0.5, 1.0]


def test_an_archive_that_asks_for_patience_gets_it(tmp_path: Path) -> None:
    pauses: list[float] = []
    busy = httpx.Response(429, headers={"Retry-After": "7"})
    answers = iter([busy, httpx.Response(200, stream=httpx.ByteStream(_CONTENT))])
    _downloads(tmp_path, lambda _: next(answers), pauses.append).fetch(_PACKAGE)
    assert pauses == [7.0]


def test_what_the_archive_never_answered_names_what_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachableError) as caught:
        _downloads(tmp_path, _Server(httpx.ConnectError("no route"))).fetch(_PACKAGE)
    assert caught.value.hint == "look at the network and proxy settings; what was fetched is kept"


@pytest.mark.parametrize(
    ("answer", "error", "asked"),
    [
        (404, SourceGoneError, 1),
        (410, SourceGoneError, 1),
        (403, SourceRefusedError, 1),
        (407, SourceRefusedError, 1),
        (_CONTENT[:-1] + b"X", SourceError, 1),
        (_CONTENT + b"more", SourceError, 1),
        (500, SourceUnreachableError, 5),
        (httpx.ReadTimeout("slow"), SourceUnreachableError, 5),
    ],
)
def test_names_what_cannot_be_had(
    tmp_path: Path, answer: bytes | int | Exception, error: type[SourceError], asked: int
) -> None:
    server = _Server(answer)
    with pytest.raises(SourceError, match="archive.test/a.deb") as caught:
        _downloads(tmp_path, server).fetch(_PACKAGE)
    assert type(caught.value) is error
    assert server.asked == asked
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("damaged", [b"", _CONTENT[:-1], _CONTENT[:-1] + b"X"])
def test_a_damaged_file_is_fetched_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: bytes) -> None:
    first = _downloads(tmp_path, _Server(_CONTENT))
    first.fetch(_PACKAGE).write_bytes(damaged)
    server = _Server(_CONTENT)
    downloads = _downloads(tmp_path, server)
    assert [downloads.fetch(_PACKAGE).read_bytes() for _ in range(2)] == [_CONTENT, _CONTENT]
    assert server.asked == 1
    assert "was damaged after it was fetched from http://archive.test/a.deb: it is fetched again" in caplog.text


class _Dripping(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"ab"


def test_a_server_that_drips_is_left(tmp_path: Path) -> None:
    seconds = itertools.count()
    client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=_Dripping())))
    downloads = Downloads(tmp_path, client=client, sleep=lambda _: None, clock=lambda: float(next(seconds)))
    package = _PACKAGE.model_copy(update={"size": 10**6})
    with pytest.raises(SourceUnreachableError, match="which is too slow"):
        downloads.fetch(package)
