"""What a lock's YAML says is read once, and never believed more than the YAML."""

from __future__ import annotations

import datetime as dt
import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.project import KERNELS, make_source

from builder.errors import LockFileError
from builder.sources import lock_cache
from builder.sources.lock import Lock
from builder.sources.lock_cache import keep, recall
from builder.sources.lock_file import read_lock, write_lock

if TYPE_CHECKING:
    from pathlib import Path

_LOCK = Lock(sources={"debian": make_source(*KERNELS)})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_lock(_LOCK, tmp_path / "lock")
    return tmp_path / "lock"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "locks"


def test_the_second_time_no_yaml_is_read(file: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_lock(file, kept) == _LOCK

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("yaml.load", refuse)
    assert read_lock(file, kept) == _LOCK
    with pytest.raises(AssertionError):
        read_lock(file)


def test_another_text_is_another_one(file: Path, kept: Path) -> None:
    read_lock(file, kept)
    file.write_text(file.read_text().replace("format: 1", "format: 2"))
    with pytest.raises(LockFileError, match="at format"):
        read_lock(file, kept)
    with pytest.raises(LockFileError, match="at format"):  # kept now, and as wrong as before
        read_lock(file, kept)
    assert len(list(kept.iterdir())) == 2


@pytest.mark.parametrize("how", ["changed", "cut", "empty", "no JSON", "link", "folder", "fifo", "large"])
def test_what_is_not_what_was_kept_is_not_used(
    file: Path, kept: Path, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read_lock(file, kept)
    (place,) = kept.iterdir()
    content = place.read_bytes()
    place.unlink()
    match how:
        case "changed":
            place.write_bytes(content.replace(b'"format":1', b'"format":2'))
        case "cut":
            place.write_bytes(content[:-10])
        case "empty":
            place.write_bytes(b"")
        case "no JSON":
            place.write_bytes(b"\xff\n{")
        case "link":
            (tmp_path / "elsewhere").write_bytes(content)
            place.symlink_to(tmp_path / "elsewhere")
        case "folder":
            place.mkdir()
        case "fifo":
            os.mkfifo(place)
        case _:
            place.write_bytes(content)
            monkeypatch.setattr(lock_cache, "_LARGEST", 100)
    assert recall(kept, file.read_text()) is None
    assert read_lock(file, kept) == _LOCK


_ODD: list[Any] = [
    {1: "a"}, {"a": {True: 1}}, {"a": dt.date(2026, 1, 1)}, {"a": float("inf")}, {"a": float("nan")}, {"a": b"x"},
    {None: 1}, {"a": {1, 2}}, {"a": "\ud83d\ude00"},
]  # fmt: skip


@pytest.mark.parametrize("data", _ODD, ids=str)
def test_what_json_says_otherwise_is_not_kept(kept: Path, data: object) -> None:
    keep(kept, "text", data)
    assert recall(kept, "text") is None


@pytest.mark.parametrize("text", ["a: 1", "a: 1.0", "a: true", "a: [~, '1', '\u00e9\u4e16']", "a: {b: {}}", "{}"])
def test_what_is_kept_is_what_yaml_says(kept: Path, text: str) -> None:
    data = yaml.safe_load(text)
    keep(kept, text, data)
    assert repr(recall(kept, text)) == repr(data)


def test_a_folder_that_takes_nothing_is_no_harm(file: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lock_cache, "replace_file", refuse)
    assert read_lock(file, kept) == _LOCK
    kept.parent.joinpath("file").write_text("")
    assert read_lock(file, kept.parent / "file" / "locks") == _LOCK


def test_the_oldest_go(kept: Path) -> None:
    for number in range(12):
        keep(kept, f"{number}", {"number": number})
        newest = max(kept.iterdir(), key=lambda item: item.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    assert [recall(kept, f"{number}") for number in (3, 11)] == [None, {"number": 11}]
    assert len(list(kept.iterdir())) == 8
