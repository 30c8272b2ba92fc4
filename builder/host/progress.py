"""How long work tells how far it is. Pure."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], object]
"""Told how many are done, of how many."""


def no_progress(done: int, total: int) -> None:
    """For work that nobody watches."""
