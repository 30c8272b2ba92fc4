"""Locks between runs."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from builder.errors import BusyError, HostError
from builder.host.locks import alone, hold_lock_file, hold_project, own_store, share_store

if TYPE_CHECKING:
    from pathlib import Path


def test_a_project_is_held_by_one(tmp_path: Path) -> None:
    with (
        hold_project(tmp_path / "work"),
        pytest.raises(BusyError, match="another run is at work"),
        hold_project(tmp_path / "work"),
    ):
        pass
    with hold_project(tmp_path / "work"):
        pass


def test_only_who_finds_the_store_unused_cleans_up(tmp_path: Path) -> None:
    cleaned: list[str] = []
    with (
        share_store(tmp_path, lambda: cleaned.append("first")),
        share_store(tmp_path, lambda: cleaned.append("second")),
    ):
        assert cleaned == ["first"]
    with share_store(tmp_path, lambda: cleaned.append("third")):
        assert cleaned == ["first", "third"]


def test_a_store_is_had_alone_only_while_nobody_uses_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)  # nothing has to be written into it
    with (
        share_store(tmp_path),
        pytest.raises(BusyError, match="another run uses the container store"),
        own_store(tmp_path),
    ):
        pass
    with own_store(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_locked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="nowhere cannot be locked: No such file"), share_store(tmp_path / "nowhere"):
        pass

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(HostError, match="cannot be locked: No locks available"), share_store(tmp_path):
        pass


def test_the_lock_file_is_written_by_one(tmp_path: Path) -> None:
    file = tmp_path / "versions.lock.yaml"
    with hold_lock_file(file), pytest.raises(BusyError, match="asking the kernel sources"), hold_lock_file(file):
        pass
    with hold_lock_file(file):
        pass
    assert not file.exists()


def test_a_folder_is_made_by_one_thread_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "made"
    order: list[str] = []

    def make() -> None:
        with alone(folder):
            order.append("second")

    with alone(folder):
        other = threading.Thread(target=make)
        other.start()
        other.join(0.05)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]


_DEEP = '{"pid":' * 100_000


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "5", '{"pid": 1}', _DEEP, "[" * 100_000, "9" * 5000, "NaN", "\0",
        '{"pid": "1", "since": "2026-01-01T00:00:00Z"}', '{"pid": 1, "since": "\\u001b[2J"}',
        '{"pid": 1e99, "since": "2026-01-01T00:00:00Z"}', '{"pid": 1, "since": "2026-01-01"}',
        '{"pid": 1, "since": ' + " " * 5000 + '"2026-01-01T00:00:00Z"}',
    ],
    ids=range(15),
)  # fmt: skip
def test_a_holder_that_wrote_nothing_readable_is_busy_all_the_same(tmp_path: Path, content: str) -> None:
    with hold_project(tmp_path):
        (tmp_path / "lock").write_text(content)
        with pytest.raises(BusyError, match="its process could not be read"), hold_project(tmp_path):
            pass


def test_a_holder_is_named(tmp_path: Path) -> None:
    found = rf"process {os.getpid()}, since 20\d\d-\d\d-\d\dT[0-9:]+\+00:00"
    with hold_project(tmp_path), pytest.raises(BusyError, match=found), hold_project(tmp_path):
        pass


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe"])
def test_a_lock_that_is_no_file_is_refused_and_nothing_is_emptied(tmp_path: Path, kind: str) -> None:
    """A checkout may bring its own work folder; a link in it would have another file emptied."""
    other, lock = tmp_path / "other", tmp_path / "lock"
    other.write_text("mine")
    if kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.symlink_to(other if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(HostError, match="no regular file"), hold_project(tmp_path):
        pass
    assert other.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
