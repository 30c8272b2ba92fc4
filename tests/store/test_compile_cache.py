"""What compiles leave to later ones, honest ones and hostile ones."""

from __future__ import annotations

import errno
import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from builder.store import compile_cache as module
from builder.store.cached_compiler import STATISTICS_FILE, TAG_FILE, CacheUse
from builder.store.compile_cache import CompileCache, Lane
from builder.store.result_folder import Bounds

if TYPE_CHECKING:
    from pathlib import Path

_KEY = "ab" * 32
_FIRST = "d6/a0hatqf5s8rm8h0dpvbq1i5vgp293m2"
_SECOND = "fb/62dn1hubsclobnsbl4eief8sfa738ji"
_ENTRY = b"\xcc\xac\x01one"
_LARGE = 2**20


class _Compile:
    """The folders of one compile, and what it does in them."""

    def __init__(self, folder: Path) -> None:
        self.known, self.new, self.own = folder / "known", folder / "new", folder / "own"
        for place in (self.known, self.new, self.own):
            place.mkdir(parents=True)

    def leave(self, name: str, content: bytes = _ENTRY) -> None:
        file = self.new / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def use(self, lane: Lane) -> CacheUse:
        return lane.take(lane.lend(self.known), self.new, self.own)

    def found(self) -> dict[str, bytes]:
        files = (file for file in self.known.rglob("*") if file.is_file())
        return {file.relative_to(self.known).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def cache(tmp_path: Path) -> CompileCache:
    return CompileCache(tmp_path / "cache", most=_LARGE)


@pytest.fixture
def lane(cache: CompileCache, tmp_path: Path) -> Lane:
    """A lane in which an earlier compile left two entries."""
    lane = cache.lane(_KEY, "demo")
    before = _Compile(tmp_path / "before")
    before.leave(_FIRST)
    before.leave(_SECOND, b"\xcc\xac\x01two")
    before.leave(TAG_FILE, b"Signature: x")
    assert before.use(lane) == CacheUse(kept=2)
    return lane


@pytest.fixture
def compile_(tmp_path: Path) -> _Compile:
    return _Compile(tmp_path / "room")


def _file_of(cache_dir: Path, content: bytes) -> Path:
    (found,) = [file for file in (cache_dir / _KEY).iterdir() if file.is_file() and file.read_bytes() == content]
    return found


def test_what_one_compile_leaves_another_gets(lane: Lane, compile_: _Compile) -> None:
    compile_.own.joinpath(STATISTICS_FILE).write_text("direct_cache_hit\ncache_miss\n")
    assert compile_.use(lane) == CacheUse(hits=1, misses=1)
    assert compile_.found() == {_FIRST: _ENTRY, _SECOND: b"\xcc\xac\x01two"}


def test_a_copy_is_no_way_back_into_the_lane(lane: Lane, compile_: _Compile, tmp_path: Path) -> None:
    lent = lane.lend(compile_.known)
    (compile_.known / _FIRST).write_bytes(b"\xcc\xac\x01evil")
    lane.take(lent, compile_.new, compile_.own)
    after = _Compile(tmp_path / "after")
    assert after.use(lane).damaged == 0
    assert after.found()[_FIRST] == _ENTRY


def test_an_entry_that_was_changed_is_found_and_not_used(lane: Lane, compile_: _Compile, tmp_path: Path) -> None:
    _file_of(tmp_path / "cache", _ENTRY).write_bytes(b"\xcc\xac\x01onf")
    assert compile_.use(lane).damaged == 1
    assert compile_.found().keys() == {_SECOND}
    after = _Compile(tmp_path / "after")
    assert after.use(lane).damaged == 0, "it is told once, and gone"


def test_an_entry_that_is_another_kind_of_file_is_not_used(lane: Lane, compile_: _Compile, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(_ENTRY)
    file = _file_of(tmp_path / "cache", _ENTRY)
    file.unlink()
    file.symlink_to(secret)
    other = _file_of(tmp_path / "cache", b"\xcc\xac\x01two")
    other.unlink()
    os.mkfifo(other)
    assert compile_.use(lane).damaged == 2
    assert not compile_.found()
    assert secret.read_bytes() == _ENTRY, "what a link leads to is not what is removed"


def test_an_entry_that_is_gone_is_no_damage(lane: Lane, compile_: _Compile, tmp_path: Path) -> None:
    _file_of(tmp_path / "cache", _ENTRY).unlink()
    assert compile_.use(lane).damaged == 0
    assert compile_.found().keys() == {_SECOND}


def test_a_cache_that_cannot_be_written_is_told_and_fails_nothing(
    lane: Lane, compile_: _Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("builder.store.compile_cache.replace_file", refuse)
    compile_.leave("0a/62dn1hubsclobnsbl4eief8sfa738ji")
    use = compile_.use(lane)
    assert (use.kept, use.refused.partition(" cannot be written: ")[2]) == (0, "No space left on device")


def test_what_cannot_be_removed_stays(
    cache: CompileCache, lane: Lane, compile_: _Compile, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compile_.use(lane).kept == 0
    cache.most = 1

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("builder.store.compile_cache.remove_folder", refuse)
    assert cache.trim() == []
    assert [size.key for size in cache.sizes()] == [_KEY]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 2, "entries": {}}',
        '{"format": 1, "entries": {"../../x": {"sha256": "' + "0" * 64 + '", "size": 1}}}',
        '{"format": 1, "entries": {"' + _FIRST + '": {"sha256": "../../../etc/passwd", "size": 1}}}',
        '{"format": 1, "entries": {"' + _FIRST + '": {"sha256": "' + "0" * 64 + '", "size": -1}}}',
        "[" * 100_000,
    ],
)
def test_a_list_that_cannot_be_read_has_no_entries(lane: Lane, compile_: _Compile, tmp_path: Path, text: str) -> None:
    (tmp_path / "cache" / _KEY / "entries.json").write_text(text)
    assert compile_.use(lane) == CacheUse()
    assert not compile_.found()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder-link", "hard-link"])
def test_of_a_compile_that_leaves_what_no_cache_leaves_nothing_is_kept(
    lane: Lane, compile_: _Compile, tmp_path: Path, kind: str
) -> None:
    name = "00/" + "a" * 31
    compile_.leave(name)
    odd = compile_.new / "00" / ("b" * 31)
    match kind:
        case "link":
            odd.symlink_to("/etc/passwd")
        case "fifo":
            os.mkfifo(odd)
        case "folder-link":
            (compile_.new / "01").symlink_to("/etc")
        case _:
            (tmp_path / "outside").write_bytes(b"x")
            os.link(tmp_path / "outside", odd)
    use = compile_.use(lane)
    assert (use.kept, bool(use.refused)) == (0, True)
    after = _Compile(tmp_path / "after")
    after.use(lane)
    assert after.found().keys() == {_FIRST, _SECOND}


def test_too_much_is_not_kept(lane: Lane, compile_: _Compile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_BOUNDS", Bounds(entries=50, size=20))
    compile_.leave("00/" + "a" * 31, b"\xcc\xac" + bytes(30))
    use = compile_.use(lane)
    assert (use.kept, "more than" in use.refused) == (0, True)
    after = _Compile(tmp_path / "after")
    after.use(lane)
    assert after.found().keys() == {_FIRST, _SECOND}


@pytest.mark.parametrize(("name", "content"), [("evil", _ENTRY), ("00/" + "a" * 31, b"#!/bin/sh")])
def test_what_is_no_entry_is_told_and_the_rest_is_kept(
    lane: Lane, compile_: _Compile, name: str, content: bytes
) -> None:
    compile_.leave(name, content)
    compile_.leave("01/" + "a" * 31)
    use = compile_.use(lane)
    assert (use.kept, bool(use.refused)) == (1, True)


@pytest.mark.parametrize("kind", ["link", "fifo", "gone", "root-link"])
def test_statistics_are_read_from_nothing_but_a_file_of_the_compile(
    lane: Lane, compile_: _Compile, tmp_path: Path, kind: str
) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / STATISTICS_FILE).write_text("cache_miss\n")
    match kind:
        case "link":
            (compile_.own / STATISTICS_FILE).symlink_to(outside / STATISTICS_FILE)
        case "fifo":
            os.mkfifo(compile_.own / STATISTICS_FILE)
        case "root-link":
            compile_.own.rmdir()
            compile_.own.symlink_to(outside)
    assert compile_.use(lane).misses == 0


def test_lanes_do_not_see_each_other(lane: Lane, cache: CompileCache, compile_: _Compile) -> None:
    compile_.use(cache.lane("cd" * 32, "other"))
    assert not compile_.found()


def test_what_is_not_trusted_reads_from_others_and_writes_to_its_own(
    lane: Lane, tmp_path: Path, compile_: _Compile
) -> None:
    mine = CompileCache(tmp_path / "mine", most=_LARGE, lender=tmp_path / "cache")
    compile_.leave("00/" + "a" * 31)
    _file_of(tmp_path / "cache", _ENTRY).write_bytes(b"changed")
    before = {file: file.read_bytes() for file in (tmp_path / "cache" / _KEY).iterdir()}
    use = compile_.use(mine.lane(_KEY, "demo"))
    assert (use.kept, use.damaged, [*compile_.found()]) == (1, 1, [_SECOND])
    assert {file: file.read_bytes() for file in (tmp_path / "cache" / _KEY).iterdir()} == before
    after = _Compile(tmp_path / "after")
    after.use(lane)
    assert after.found().keys() == {_SECOND}, "nobody else gets what it left"


def test_what_was_not_used_for_longest_goes_first(
    tmp_path: Path, lane: Lane, compile_: _Compile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    lent = lane.lend(compile_.known)
    os.utime(compile_.known / _FIRST)  # as ccache does with what it reads
    compile_.leave("00/" + "a" * 31)
    small = CompileCache(tmp_path / "cache", most=2 * len(_ENTRY)).lane(_KEY, "demo")
    small.take(lent, compile_.new, compile_.own)
    after = _Compile(tmp_path / "after")
    after.use(lane)
    assert after.found().keys() == {_FIRST, "00/" + "a" * 31}
    assert len(list((tmp_path / "cache" / _KEY).iterdir())) == 2, "equal contents are one file, and the list another"


def test_lanes_are_removed_whole_until_the_rest_fits(
    cache: CompileCache, lane: Lane, compile_: _Compile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    compile_.leave(_FIRST)
    compile_.use(cache.lane("cd" * 32, "later"))
    assert [(item.driver, item.size) for item in cache.sizes()] == [("demo", 12), ("later", 6)]
    assert [item.driver for item in CompileCache(tmp_path / "cache", most=6).trim()] == ["demo"]
    assert [item.driver for item in cache.sizes()] == ["later"]
    assert not cache.trim()


def test_a_folder_that_is_no_lane_is_left_alone(cache: CompileCache, lane: Lane, tmp_path: Path) -> None:
    (tmp_path / "cache" / "notes").mkdir()
    CompileCache(tmp_path / "cache", most=0).trim()
    assert sorted(entry.name for entry in (tmp_path / "cache").iterdir() if entry.is_dir()) == ["notes"]


def test_killed_between_files_and_list_it_leaves_nothing_that_counts(
    lane: Lane, compile_: _Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module._Place, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    compile_.leave(_FIRST, b"\xcc\xac\x01newer")
    with pytest.raises(KeyboardInterrupt):
        compile_.use(lane)
    monkeypatch.undo()
    after = _Compile(tmp_path / "after")
    after.leave("00/" + "a" * 31)
    assert after.use(lane) == CacheUse(kept=1)
    assert after.found()[_FIRST] == _ENTRY
    names = {file.name for file in (tmp_path / "cache" / _KEY).iterdir()}
    listed = json.loads((tmp_path / "cache" / _KEY / "entries.json").read_text())["entries"].values()
    assert names == {"entries.json", *(entry["sha256"] for entry in listed)}, "what was in no list is gone"


def test_compiles_that_end_together_lose_nothing(cache: CompileCache, tmp_path: Path) -> None:
    compiles = [_Compile(tmp_path / str(number)) for number in range(8)]
    for number, item in enumerate(compiles):
        item.leave(f"{number:02}/" + "a" * 31, b"\xcc\xac" + bytes([number]))
    threads = [threading.Thread(target=item.use, args=(cache.lane(_KEY, "demo"),)) for item in compiles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = _Compile(tmp_path / "after")
    after.use(cache.lane(_KEY, "demo"))
    assert len(after.found()) == 8


def test_through_a_link_in_place_of_a_lane_nothing_is_removed(
    cache: CompileCache, compile_: _Compile, tmp_path: Path
) -> None:
    """What is in no list is removed from a lane: with a link there, that was all that its owner had at its end."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis").write_text("years")
    place = tmp_path / "cache" / _KEY
    place.parent.mkdir()
    place.symlink_to(theirs)
    cache.drop(_KEY)
    assert not place.is_symlink()
    place.symlink_to(theirs)
    compile_.leave(_FIRST)
    assert compile_.use(cache.lane(_KEY, "demo")).kept == 1
    assert [file.name for file in theirs.iterdir()] == ["thesis"]
    assert compile_.use(cache.lane(_KEY, "demo")).kept == 1
    assert compile_.found() == {_FIRST: _ENTRY}
