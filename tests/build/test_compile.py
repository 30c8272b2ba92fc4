"""A compile is read as data where it succeeds, and named by its first real error where it fails."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.results import MODULE, leave_result

from builder.build.compile import compile_modules, compile_with_cache
from builder.errors import CellError, FailureClass
from builder.host.run import Command
from builder.store.cached_compiler import KNOWN, NEW, OWN, SCRIPTS, CacheUse
from builder.store.compile_cache import CompileCache, Lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.tools import FakeTools

_CCACHE = Path("/ccache")
_NAME = "d6/a0hatqf5s8rm8h0dpvbq1i5vgp293m2"


class _Room:
    def __init__(self, results: Path) -> None:
        self.results = results
        self.limit = ""
        self.cache = {place: results.with_name(place.rpartition("/")[2]) for place in (KNOWN, NEW, OWN)}
        for folder in self.cache.values():
            folder.mkdir(exist_ok=True)

    def raise_limit(self) -> None:
        if self.limit:
            raise CellError(FailureClass.COMPILE, self.limit, "too much")


class _Build:
    """A build in a room that is there already."""

    def __init__(self, room: _Room) -> None:
        self.room, self.jail = room, self

    @contextmanager
    def open_room(self) -> Iterator[_Room]:
        yield self.room

    def compile(self, _room: object, *, make_jobs: int, ccache: Path | None) -> Command:
        return Command(argv=("buildah", str(make_jobs), *([str(ccache)] if ccache else [])))


def _compile(room: _Room) -> Any:
    build: Any = _Build(room)
    return compile_modules(build, make_jobs=3)


def _compile_with_cache(room: _Room, lane: Lane) -> tuple[Any, CacheUse]:
    build: Any = _Build(room)
    return compile_with_cache(build, lane, _CCACHE, make_jobs=3)


@pytest.fixture
def room(tmp_path: Path) -> _Room:
    return _Room(leave_result(tmp_path / "out"))


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    return CompileCache(tmp_path / "cache", most=2**20).lane("ab" * 32, "demo")


def test_what_is_left_is_the_result(fake_tools: FakeTools, room: _Room) -> None:
    fake_tools.add("buildah")
    assert _compile(room).modules() == [(MODULE, b"\x7fELF")]
    assert fake_tools.calls("buildah") == [["3"]]


@pytest.mark.parametrize(("limit", "code"), [("", "compiler-error"), ("disk-limit", "disk-limit")])
def test_a_limit_that_was_hit_says_more_than_the_log(fake_tools: FakeTools, room: _Room, limit: str, code: str) -> None:
    fake_tools.add("buildah", "echo 'demo.c:1:1: error: x' >&2; exit 2")
    room.limit = limit
    with pytest.raises(CellError) as caught:
        _compile(room)
    assert caught.value.failure.code == code


def test_with_the_cache_a_compile_finds_scripts_and_leaves_entries(
    fake_tools: FakeTools, room: _Room, lane: Lane
) -> None:
    new, own = room.cache[NEW], room.cache[OWN]
    leave = f"mkdir -p {new}/d6; printf '\\314\\254x' >{new}/{_NAME}; echo cache_miss >{own}/statistics"
    fake_tools.add("buildah", leave)
    result, use = _compile_with_cache(room, lane)
    assert result.modules() == [(MODULE, b"\x7fELF")]
    assert use == CacheUse(misses=1, kept=1)
    assert fake_tools.calls("buildah") == [["3", str(_CCACHE)]]
    assert {file.name: file.read_text() for file in own.iterdir() if file.name in SCRIPTS} == SCRIPTS
    _compile_with_cache(room, lane)
    assert (room.cache[KNOWN] / _NAME).read_bytes() == b"\xcc\xacx"


def test_what_fails_after_it_took_something_is_compiled_again_without(
    fake_tools: FakeTools, room: _Room, lane: Lane
) -> None:
    own = room.cache[OWN]
    fake_tools.add("buildah", f'[ -z "$2" ] || {{ echo direct_cache_hit >{own}/statistics; exit 2; }}')
    result, use = _compile_with_cache(room, lane)
    assert (result.modules(), use) == ([(MODULE, b"\x7fELF")], CacheUse())
    assert fake_tools.calls("buildah") == [["3", str(_CCACHE)], ["3"]]


def test_what_fails_and_took_nothing_fails_once_and_leaves_nothing(
    fake_tools: FakeTools, room: _Room, lane: Lane, tmp_path: Path
) -> None:
    new, own = room.cache[NEW], room.cache[OWN]
    leave = f"mkdir -p {new}/d6; printf '\\314\\254x' >{new}/{_NAME}; echo cache_miss >{own}/statistics"
    fake_tools.add("buildah", f"{leave}; echo 'demo.c:1:1: error: x' >&2; exit 2")
    with pytest.raises(CellError) as caught:
        _compile_with_cache(room, lane)
    assert caught.value.failure.code == "compiler-error"
    assert len(fake_tools.calls("buildah")) == 1
    assert not (tmp_path / "cache").exists()


def test_results_that_are_refused_leave_nothing_in_the_cache(
    fake_tools: FakeTools, room: _Room, lane: Lane, tmp_path: Path
) -> None:
    new = room.cache[NEW]
    hostile = f"mkdir {room.results}/x.ko; mkdir -p {new}/d6; printf '\\314\\254x' >{new}/{_NAME}"
    fake_tools.add("buildah", hostile)
    with pytest.raises(CellError) as caught:
        _compile_with_cache(room, lane)
    assert caught.value.failure.code == "module-not-a-file"
    assert not (tmp_path / "cache").exists()
