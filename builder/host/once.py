"""Work that several threads ask for and one does."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Once:
    """Remembers what was made, by key; a failure goes to all who wait for it and is forgotten, to be tried again."""

    def __init__(self) -> None:
        self._made: dict[object, Future[Any]] = {}
        self._guard = threading.Lock()

    def get(self, key: object, make: Callable[[], _T]) -> _T:
        """Return what ``make`` makes, made by the first thread that asks for ``key``."""
        with self._guard:
            future: Future[Any] | None = self._made.get(key)
            mine = future is None
            if future is None:
                future = self._made[key] = Future()
        if mine:
            self._make(key, make, future)
        result: _T = future.result()
        return result

    def forget(self, key: object) -> None:
        """Have it made again the next time that somebody asks."""
        with self._guard:
            self._made.pop(key, None)

    def _make(self, key: object, make: Callable[[], _T], future: Future[_T]) -> None:
        try:
            future.set_result(make())
        except BaseException as error:  # noqa: BLE001 - handed to everyone who waits for it
            with self._guard:
                del self._made[key]
            future.set_exception(error)
