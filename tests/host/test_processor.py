"""Processor time of a thread and of the processes that it waits for."""

from __future__ import annotations

import os
import threading

from builder.host.processor import measure, note_process, time_of_process


def _work() -> int:
    return sum(range(300_000))


def test_the_threads_own_time_and_that_of_processes_are_added() -> None:
    with measure() as outer:
        _work()
        own = outer.read()
        assert own > 0
        with measure() as inner:
            note_process(2.5)
            assert 2.5 <= inner.read() < 2.6
        note_process(1.0)
        assert own + 3.5 <= outer.read() < own + 3.7
    note_process(9.0)
    assert outer.read() < 9.0, "what is over counts nothing more"


def test_another_threads_work_is_not_counted() -> None:
    with measure() as meter:
        other = threading.Thread(target=lambda: note_process(7.0))
        other.start()
        other.join()
        assert meter.read() < 7.0


def test_a_process_has_a_time_and_one_that_is_not_there_has_none() -> None:
    _work()
    assert time_of_process(os.getpid()) > 0
    assert time_of_process(2**22 + 1) == 0.0
