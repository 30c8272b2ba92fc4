"""A folder that changes all at once."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from builder.errors import HostError, UsageError
from builder.host import swap
from builder.host.swap import new_folder

if TYPE_CHECKING:
    from pathlib import Path

_MARK = ".mark"


def _write(place: Path, text: str) -> None:
    with new_folder(place, _MARK) as folder:
        (folder / _MARK).write_text("")
        (folder / "file").write_text(text)


def _break_off(place: Path) -> None:
    with new_folder(place, _MARK) as folder:
        (folder / "file").write_text("half")
        raise ZeroDivisionError


@pytest.fixture(params=["exchange", "rename"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to put a folder in the place of another: in one step, and where the file system cannot."""

    def refuse(_one: bytes, _other: bytes) -> None:
        raise OSError(errno.EINVAL, "no such flag here")

    if request.param == "rename":
        monkeypatch.setattr(swap, "_rename_exchange", refuse)


@pytest.mark.usefixtures("_way")
def test_it_is_written_and_replaced_and_nothing_is_left_over(tmp_path: Path) -> None:
    place = tmp_path / "below" / "site"
    _write(place, "one")
    (place / "old").write_text("goes")
    _write(place, "two")
    assert sorted(item.name for item in place.iterdir()) == [_MARK, "file"]
    assert (place / "file").read_text() == "two"
    assert [item.name for item in place.parent.iterdir()] == ["site"]
    assert place.stat().st_mode & 0o777 == 0o755


@pytest.mark.usefixtures("_way")
def test_an_error_leaves_the_old_one(tmp_path: Path) -> None:
    place = tmp_path / "site"
    _write(place, "one")
    with pytest.raises(ZeroDivisionError):
        _break_off(place)
    assert (place / "file").read_text() == "one"
    assert [item.name for item in tmp_path.iterdir()] == ["site"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    _write(tmp_path / "site", "one")
    assert (tmp_path / "site" / "file").read_text() == "one"


def _a_file(place: Path) -> None:
    place.write_text("mine")


def _a_link(place: Path) -> None:
    (place.parent / "elsewhere").mkdir()
    (place.parent / "elsewhere" / _MARK).write_text("")
    place.symlink_to("elsewhere")


def _a_dangling_link(place: Path) -> None:
    place.symlink_to("nowhere")


def _a_full_folder(place: Path) -> None:
    place.mkdir()
    (place / "thesis").write_text("mine")


def _a_folder_whose_marker_is_a_link(place: Path) -> None:
    _a_full_folder(place)
    (place / _MARK).symlink_to("thesis")


@pytest.mark.parametrize("make", [_a_file, _a_link, _a_dangling_link, _a_full_folder, _a_folder_whose_marker_is_a_link])
def test_what_is_not_its_own_is_refused_and_not_touched(tmp_path: Path, make: object) -> None:
    place = tmp_path / "site"
    make(place)  # type: ignore[operator]
    before = sorted((str(item), item.lstat().st_mtime_ns) for item in tmp_path.rglob("*"))
    with pytest.raises(UsageError):
        _write(place, "one")
    assert sorted((str(item), item.lstat().st_mtime_ns) for item in tmp_path.rglob("*")) == before


def test_a_folder_that_somebody_fills_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "site"
    with contextlib.ExitStack() as held:
        (held.enter_context(new_folder(place, _MARK)) / _MARK).write_text("")
        _a_full_folder(place)
        with pytest.raises(UsageError):
            held.close()
    assert [item.name for item in place.iterdir()] == ["thesis"]


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".site.new-dead", tmp_path / ".site.new-alive"
    other = tmp_path / ".other.new-dead"
    for folder in (dead, alive, other):
        folder.mkdir()
    (dead / "half").write_text("half")
    (tmp_path / ".site.new-link").symlink_to(other)
    handle = os.open(alive, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _write(tmp_path / "site", "one")
    finally:
        os.close(handle)
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        ".other.new-dead",
        ".site.new-alive",
        ".site.new-link",
        "site",
    ]


def test_a_run_that_was_killed_between_two_renames_is_mended(tmp_path: Path) -> None:
    _write(tmp_path / "site", "one")
    (tmp_path / "site").rename(tmp_path / ".site.new-x.old")
    with pytest.raises(ZeroDivisionError):
        _break_off(tmp_path / "site")
    assert (tmp_path / "site" / "file").read_text() == "one"


def test_two_runs_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    place = tmp_path / "site"
    with new_folder(place, _MARK) as slow:
        (slow / _MARK).write_text("")
        (slow / "file").write_text("slow")
        _write(place, "fast")
        assert (place / "file").read_text() == "fast"
    assert (place / "file").read_text() == "slow"
    assert [item.name for item in tmp_path.iterdir()] == ["site"]


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written"):
        _write(tmp_path / "file" / "site", "one")
