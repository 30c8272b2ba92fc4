"""Waits until all shards of a plan left evidence, and shows what is there meanwhile; nothing is written by it."""

from __future__ import annotations

import logging
from time import monotonic, sleep
from typing import TYPE_CHECKING

from builder.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.shards.document import PlanDocument
    from builder.shards.judging import Collected

_log = logging.getLogger(__name__)

PAUSE_S = 10.0
_MOST_FAILURES = 30


def watch(
    document: PlanDocument,
    look: Callable[[], Collected],
    show: Callable[[Collected], None],
    *,
    patience_s: float | None = None,
    clock: Callable[[], float] = monotonic,
    pause: Callable[[float], None] | None = None,
) -> Collected:
    """Look every ten seconds until no shard is without evidence, or patience ends; returns what there is then.

    Args:
        document: the plan.
        look: reads all evidence; what it cannot read is asked for again, for five minutes.
        show: is given what was read, each time.
        patience_s: seconds; None: without an end.
        clock: seconds that only go forward.
        pause: how to wait.

    Raises:
        SourceError: the registry gave no answer for five minutes.
    """
    began, failures = clock(), 0
    pause = pause or sleep
    while True:
        try:
            collected = look()
        except SourceError as error:
            failures += 1
            if failures > _MOST_FAILURES or _is_over(began, patience_s, clock):
                raise
            _log.warning("%s: looking again", error.message)
            pause(PAUSE_S)
            continue
        failures = 0
        show(collected)
        if not collected.missing(document) or _is_over(began, patience_s, clock):
            return collected
        pause(PAUSE_S)


def _is_over(began: float, patience_s: float | None, clock: Callable[[], float]) -> bool:
    return patience_s is not None and clock() - began >= patience_s
