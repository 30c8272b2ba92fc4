"""A compile is read as data where it succeeds, and named by its first real error where it fails."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fakes.results import MODULE, leave_result

from builder.build.compile import compile_modules
from builder.errors import CellError, FailureClass
from builder.host.run import Command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.tools import FakeTools


class _Room:
    def __init__(self, results: Path) -> None:
        self.results = results
        self.limit = ""

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

    def compile(self, _room: object, *, make_jobs: int) -> Command:
        return Command(argv=("buildah", str(make_jobs)))


def _compile(room: _Room) -> Any:
    build: Any = _Build(room)
    return compile_modules(build, make_jobs=3)


def test_what_is_left_is_the_result(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("buildah")
    assert _compile(_Room(leave_result(tmp_path / "out"))).modules() == [(MODULE, b"\x7fELF")]
    assert fake_tools.calls("buildah") == [["3"]]


@pytest.mark.parametrize(("limit", "code"), [("", "compiler-error"), ("disk-limit", "disk-limit")])
def test_a_limit_that_was_hit_says_more_than_the_log(
    fake_tools: FakeTools, tmp_path: Path, limit: str, code: str
) -> None:
    fake_tools.add("buildah", "echo 'demo.c:1:1: error: x' >&2; exit 2")
    room = _Room(leave_result(tmp_path / "out"))
    room.limit = limit
    with pytest.raises(CellError) as caught:
        _compile(room)
    assert caught.value.failure.code == code
