"""Which key is next, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kmod_operator.cluster.queue import Queue


def test_a_burst_is_one_pass() -> None:
    queue = Queue(settle_s=1.0)
    for moment in (0.0, 0.2, 0.9):
        queue.add("a", moment)
    assert queue.take(0.9) is None
    assert queue.take(1.0) == "a"
    assert queue.take(99.0) is None
    assert queue.wait_s(99.0) is None


def test_what_changes_while_it_is_worked_on_makes_another_pass() -> None:
    queue = Queue(settle_s=0.0)
    queue.add("a", 0.0)
    assert queue.take(0.0) == "a"
    queue.add("a", 1.0)
    queue.succeeded("a")
    assert queue.take(1.0) == "a"


def test_a_change_hastens_what_was_to_be_looked_at_later_and_not_the_other_way() -> None:
    queue = Queue(settle_s=1.0)
    queue.add_after("a", 0.0, 600.0)
    assert queue.wait_s(0.0) == 600.0
    queue.add("a", 10.0)
    assert queue.wait_s(10.0) == 1.0
    queue.add_after("a", 10.0, 30.0)
    assert queue.take(11.0) == "a"


def test_who_waits_longest_is_first() -> None:
    queue = Queue(settle_s=0.0)
    queue.add("late", 5.0)
    queue.add("early", 1.0)
    assert [queue.take(9.0), queue.take(9.0)] == ["early", "late"]


def test_failures_come_later_and_later_and_changes_do_not_hasten_them() -> None:
    queue = Queue(settle_s=0.0)
    waits = [queue.failed("a", 0.0) for _ in range(10)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    queue.add("a", 1.0)
    assert queue.take(59.0) is None
    assert queue.take(60.0) == "a"
    queue.succeeded("a")
    queue.add("a", 121.0)
    assert queue.take(121.0) == "a", "who succeeds begins anew"
    assert queue.failed("a", 200.0) == 1


def test_the_server_is_left_alone_for_as_long_as_it_says() -> None:
    queue = Queue()
    assert queue.failed("a", 0.0, share=0.5, wait_s=30.0) == 30.0
    assert queue.failed("b", 0.0, share=0.5) == 0.5


def test_what_is_forgotten_is_not_taken() -> None:
    queue = Queue(settle_s=0.0)
    queue.failed("a", 0.0)
    queue.forget("a")
    assert queue.take(1e9) is None
    queue.add("a", 0.0)
    assert queue.take(0.0) == "a", "its back-off is forgotten as well"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["add", "fail", "take", "done"]), st.floats(0, 9))))
def test_a_key_is_in_it_once_and_none_is_lost(steps: list[tuple[str, str, float]]) -> None:
    queue, now = Queue(settle_s=0.5), 0.0
    wanted: set[str] = set()
    for key, what, seconds in steps:
        now += seconds
        if what == "add":
            queue.add(key, now)
            wanted.add(key)
        elif what == "fail":
            queue.failed(key, now)
            wanted.add(key)
        elif what == "done":
            queue.succeeded(key)
        elif taken := queue.take(now):
            assert taken in wanted
            wanted.discard(taken)
    left = set()
    while taken := queue.take(now + 1000):
        assert taken not in left
        left.add(taken)
    assert left == wanted


def test_numbers_of_failures_do_not_overflow() -> None:
    queue = Queue()
    for _ in range(5000):
        wait_s = queue.failed("a", 0.0)
    assert wait_s == pytest.approx(60)
