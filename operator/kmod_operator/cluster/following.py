"""Asks for something again and again, beside the passes: who answers late, or never, holds up nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_AGAIN_S = 300.0
_AFTER_FAILURE_S = 60.0
_WITHIN_S = 60.0


class Followed:
    """What a registry has, from now until ``end``.

    Args:
        get: asks for it; whatever it raises has a sentence.
        changed: called where the answer is another one.
        sleep: how time passes between two questions.

    Attributes:
        content: what was answered last; None: nothing, and ``trouble`` says why.
        trouble: a sentence; empty where all is well, and before the first answer.
        answered: set with the first answer, whatever it is.
    """

    def __init__(
        self,
        get: Callable[[], Awaitable[bytes]],
        changed: Callable[[], None],
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._get, self._changed, self._sleep = get, changed, sleep
        self.content: bytes | None = None
        self.trouble = ""
        self.answered = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    def end(self) -> None:
        self._task.cancel()

    async def _follow(self) -> None:
        while True:
            before = self.content, self.trouble
            try:
                async with asyncio.timeout(_WITHIN_S):
                    self.content, self.trouble = await self._get(), ""
            except Exception as error:  # noqa: BLE001 - whatever a registry does, the last index is still believed
                words = str(error) or f"the registry has not answered for {_WITHIN_S:.0f} s"
                self.content, self.trouble = None, words
            self.answered.set()
            if (self.content, self.trouble) != before:
                self._changed()
            await self._sleep(_AGAIN_S if self.content is not None else _AFTER_FAILURE_S)
