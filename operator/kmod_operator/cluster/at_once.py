"""Several requests at once, but not so many that a server would mind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

_AT_ONCE = 8


async def side_by_side(jobs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do jobs, a few at a time.

    Raises:
        Exception: what the first that failed raised, as it was; what was not begun by then is not done.
    """
    waiting = iter(jobs)
    failed: list[Exception] = []

    async def work() -> None:
        for job in waiting:
            if failed:
                job.close()
                continue
            try:
                await job
            except Exception as error:  # noqa: BLE001 - it is raised below
                failed.append(error)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(work())
    if failed:
        raise failed[0]
