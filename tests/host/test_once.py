"""What several threads ask for and one makes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from builder.host.once import Once


def test_what_failed_once_is_made_again_and_what_was_made_is_not() -> None:
    once = Once()
    with pytest.raises(ValueError, match="no"):
        once.get("a", lambda: int("no"))
    assert once.get("a", lambda: 1) == 1
    assert once.get("a", lambda: 2) == 1
    once.forget("a")
    assert once.get("a", lambda: 3) == 3


def test_several_threads_get_what_one_made() -> None:
    once, made = Once(), []
    is_made, may_end = threading.Event(), threading.Event()

    def make() -> str:
        made.append(1)
        is_made.set()
        may_end.wait(10)
        return "it"

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(once.get, "a", make)
        assert is_made.wait(10)
        others = [pool.submit(once.get, "a", make) for _ in range(2)]
        may_end.set()
        assert [future.result(10) for future in (first, *others)] == ["it"] * 3
    assert len(made) == 1
