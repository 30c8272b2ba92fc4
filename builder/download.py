"""Fetches locked files into a content-addressed folder: what is there under its digest is never fetched again."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING

from builder.errors import SourceError, SourceGoneError, SourceUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from builder.lock import LockedPackage

_TRIES = 4
_PAUSE_S = 1.0
_GONE = frozenset({404, 410})
_CHUNK = 1024 * 1024


class Downloads:
    """A cache folder and the client that fills it; safe to use from several threads."""

    def __init__(
        self, folder: Path, *, client: httpx.Client | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._folder = folder
        self._client = client
        self._sleep = sleep
        self._guard = threading.Lock()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def path(self, package: LockedPackage) -> Path:
        return self._folder / package.sha256

    def has(self, package: LockedPackage) -> bool:
        return self.path(package).exists()

    def drop(self, package: LockedPackage) -> None:
        """Remove the file of a package; it is fetched again when it is needed."""
        self.path(package).unlink(missing_ok=True)

    def fetch(self, package: LockedPackage) -> Path:
        """Return the file of a package, fetching it if it is not there.

        Raises:
            SourceGoneError: the archive says that it does not serve the file any more.
            SourceUnreachableError: the archive did not answer, after several tries.
            SourceError: it served something else than the lock names, or refused.
        """
        target = self.path(package)
        for attempt in range(_TRIES):
            if target.exists():
                return target
            try:
                self._fetch_once(package, target)
            except SourceUnreachableError:
                if attempt == _TRIES - 1:
                    raise
                self._sleep(_PAUSE_S * 2**attempt)
        return target

    def _fetch_once(self, package: LockedPackage, target: Path) -> None:
        import httpx  # noqa: PLC0415 - costs 140 ms that a build without downloads does not pay

        self._folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            with self._shared_client().stream("GET", package.url) as answer, partial.open("wb") as file:
                _check_status(answer, package)
                _copy(answer, file.write, package)
            partial.rename(target)
        except httpx.HTTPError as error:
            raise SourceUnreachableError(
                f"{package.url} could not be fetched: {str(error) or type(error).__name__}",
                hint="look at the network and proxy settings; what was fetched is kept",
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def _shared_client(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 - see above

        with self._guard:
            if self._client is None:
                self._client = httpx.Client(follow_redirects=True, timeout=30.0)
            return self._client


def _check_status(answer: httpx.Response, package: LockedPackage) -> None:
    if answer.status_code in _GONE:
        raise SourceGoneError(
            f"{package.url} is no longer served (HTTP {answer.status_code})",
            hint="'nox -s discover' writes a lock of what is served today; old files live at snapshot.debian.org",
        )
    if answer.status_code >= 500 or answer.status_code == 429:  # noqa: PLR2004 - RFC 9110
        raise SourceUnreachableError(f"{package.url}: the archive answers HTTP {answer.status_code}")
    if answer.status_code != 200:  # noqa: PLR2004 - RFC 9110
        raise SourceError(f"{package.url}: the archive answers HTTP {answer.status_code}")


def _copy(answer: httpx.Response, write: Callable[[bytes], int], package: LockedPackage) -> None:
    digest = hashlib.sha256()
    size = 0
    for chunk in answer.iter_bytes(_CHUNK):
        size += len(chunk)
        if size > package.size:
            break
        digest.update(chunk)
        write(chunk)
    if size < package.size:
        raise SourceUnreachableError(f"{package.url} ended after {size} of {package.size} bytes")
    if size > package.size or digest.hexdigest() != package.sha256:
        raise SourceError(
            f"{package.url} is not the file that the lock names (size or SHA-256 differ)",
            hint="somebody changed it on the way or in the archive; 'nox -s discover' shows what is served now",
        )
