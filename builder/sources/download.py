"""Fetches locked files into a content-addressed folder: what is there under its digest is never fetched again.

Whether it still has that digest is looked at once in a run: a disk that filled up or a hand may have damaged it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Protocol

from builder.errors import DamagedError, SourceError, SourceGoneError, SourceUnreachableError
from builder.host.http import check_status, open_client, read_chunks, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

_log = logging.getLogger(__name__)

_GONE = frozenset({404, 410})


class LockedFile(Protocol):
    """A file that a lock names: where it is served, its size and its digest."""

    @property
    def url(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> str: ...


class Downloads:
    """A cache folder and the client that fills it; safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        *,
        client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._client = client
        self._sleep = sleep
        self._clock = clock
        self._guard = threading.Lock()
        self._good: set[str] = set()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def path(self, package: LockedFile) -> Path:
        return self._folder / package.sha256

    def has(self, package: LockedFile) -> bool:
        return self.path(package).exists()

    def drop(self, package: LockedFile) -> None:
        """Remove the file of a package; it is fetched again when it is needed."""
        self.path(package).unlink(missing_ok=True)

    def fetch(self, package: LockedFile) -> Path:
        """Return the file of a package, fetching it if it is not there, or is damaged.

        Raises:
            SourceGoneError: the archive says that it does not serve the file any more.
            SourceUnreachableError: the archive did not answer, after several tries.
            SourceError: it served something else than the lock names, or refused.
        """
        target = self.path(package)

        def fetch() -> Path:
            if not self._is_good(package, target):
                self._fetch_once(package, target)
            return target

        return with_retries(fetch, sleep=self._sleep)

    def _is_good(self, package: LockedFile, target: Path) -> bool:
        """Tell whether a file is there and whole; one that is not is removed."""
        if package.sha256 in self._good:
            return target.exists()
        try:
            with target.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            return False
        if found != package.sha256:
            _log.warning("%s was damaged after it was fetched from %s: it is fetched again", target, package.url)
            target.unlink(missing_ok=True)
            return False
        self._good.add(package.sha256)
        return True

    def _fetch_once(self, package: LockedFile, target: Path) -> None:
        import httpx  # noqa: PLC0415 - costs 140 ms that a build without downloads does not pay

        self._folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            plain = {"Accept-Encoding": "identity"}
            client = self._shared_client()
            with client.stream("GET", package.url, headers=plain) as answer, partial.open("wb") as file:
                _check_status(answer, package)
                _copy(read_chunks(answer, package.size, package.url, clock=self._clock), file.write, package)
            partial.rename(target)
            self._good.add(package.sha256)
        except httpx.HTTPError as error:
            raise SourceUnreachableError(
                f"{package.url} could not be fetched: {str(error) or type(error).__name__}",
                hint="look at the network and proxy settings; what was fetched is kept",
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def _shared_client(self) -> httpx.Client:
        with self._guard:
            if self._client is None:
                self._client = open_client(follow_redirects=True)
            return self._client


def _check_status(answer: httpx.Response, package: LockedFile) -> None:
    if answer.status_code in _GONE:
        raise SourceGoneError(
            f"{package.url} is no longer served (HTTP {answer.status_code})",
            hint="'nox -s discover' writes a lock of what is served today; old files live at snapshot.debian.org",
        )
    check_status(answer, package.url, refusal="the archive or a proxy wants a password, or forbids it: ask who runs it")


def _copy(chunks: Iterator[bytes], write: Callable[[bytes], int], package: LockedFile) -> None:
    digest = hashlib.sha256()
    size = 0
    hint = "somebody changed it on the way or in the archive; 'nox -s discover' shows what is served now"
    try:
        for chunk in chunks:
            size += len(chunk)
            digest.update(chunk)
            write(chunk)
    except DamagedError as error:
        raise SourceError(f"{error.message}: it is not the file that the lock names", hint=hint) from None
    if size < package.size:
        raise SourceUnreachableError(f"{package.url} ended after {size} of {package.size} bytes")
    if digest.hexdigest() != package.sha256:
        raise SourceError(f"{package.url} is not the file that the lock names: its SHA-256 differs", hint=hint)
