"""Files that are copied out of an image: a whole folder, or none."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.bench import Bench

from builder.errors import (
    CommandError,
    SourceError,
)
from builder.host.bounds import Limits
from builder.host.run import Command
from builder.store import jail as jail_module
from builder.store.extract import extract_files
from builder.store.jail import Jail, Walls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.tools import FakeTools


@pytest.fixture
def jail(tmp_path: Path, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> Jail:
    """A jail whose build leaves what a test puts into ``made``."""
    (tmp_path / "out").mkdir()
    (tmp_path / "made").mkdir()
    (tmp_path / "rooms").mkdir()
    monkeypatch.setattr(jail_module, "find_walls", lambda: Walls(has_room=False, users=(), groups=(), grouping=None))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    fake_tools.add("env", 'shift; while [ "${1#*=}" != "$1" ]; do shift; done; exec "$@"')
    fake_tools.add("buildah", f'[ ! -f "{tmp_path}/fails" ] || exit 3; cp -r "{tmp_path}/made/." "{tmp_path}/out/"')

    @contextmanager
    def open_room(_self: Jail) -> Iterator[Any]:
        yield SimpleNamespace(results=tmp_path / "out")

    monkeypatch.setattr(Jail, "open_room", open_room)
    monkeypatch.setattr("builder.store.extract.ImageBuild", _Build)
    return Jail(Limits(memory_bytes=2**30, processes=100, disk_bytes=2**31))


class _Build:
    def __init__(self, **_: object) -> None:
        """Any build."""

    def compile(self, _room: object) -> Command:
        return Command(argv=("buildah", "build"))


def _left(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_what_is_there_is_not_made_again(jail: Jail, tmp_path: Path, fake_tools: FakeTools) -> None:
    (tmp_path / "made" / "a").write_text("1")
    for _ in range(2):
        extract_files("FROM x", {}, tmp_path / "cache" / "kernel", jail=jail)
    assert (tmp_path / "cache" / "kernel" / "a").read_text() == "1"
    assert len(fake_tools.calls("buildah")) == 1
    assert _left(tmp_path / "cache") == {"kernel", ".kernel.lock"}


def test_a_build_that_fails_leaves_nothing(jail: Jail, tmp_path: Path) -> None:
    (tmp_path / "fails").touch()
    with pytest.raises(CommandError):
        extract_files("FROM x", {}, tmp_path / "cache" / "kernel", jail=jail)
    assert _left(tmp_path / "cache") == {".kernel.lock"}


def test_links_of_an_image_are_not_followed(jail: Jail, tmp_path: Path) -> None:
    (tmp_path / "made" / "a").symlink_to("/etc/passwd")
    with pytest.raises(SourceError, match="kernel: .*a is a link"):
        extract_files("FROM x", {}, tmp_path / "cache" / "kernel", jail=jail)
    assert _left(tmp_path / "cache") == {".kernel.lock"}


def test_kernel_facts_are_not_read_through_links(bench: Bench, fake_tools: FakeTools) -> None:
    (fake_tools.folder / "ln").symlink_to(shutil.which("ln", path="/usr/bin:/bin") or "ln")
    (bench.store / "hostile-facts").write_text('ln -s "$store/names" modules.builtin')
    (failure,) = bench.build("--kernel", "6.1.0-10-amd64")[1]["failures"]
    assert (failure["failure_class"], "modules.builtin is a link" in failure["detail"]) == ("toolkit", True)
