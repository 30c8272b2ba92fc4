"""Which compiles use the compile cache, and which of them share what is in it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.lists import make_decision

from builder.build.compile_lanes import CompileLanes
from builder.errors import LockFileError, SourceError
from builder.plan.decide import CellInputs
from builder.store.compile_cache import CompileCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.kernel import KernelVersion
    from builder.plan.decide import Decision

_INPUTS = CellInputs(source="s", containerfile="c", recipe="r", toolkit="t", base="b", driver="d 1", kernel="k")


@pytest.fixture
def decision() -> Decision:
    return replace(make_decision("amd64", "quay.test/org/drv:1"), inputs=_INPUTS)


class _World:
    """A driver of so many C files, a source, and what is asked of them."""

    def __init__(self, folder: Path, files: int = 6, most: int = 2**20) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.said: list[str] = []
        self.ccache: Callable[[], Path | None] = lambda: Path("/cache/ccache/one")
        self.toolchain = "gcc-12"
        self.own: str | None = None
        self.fault: LockFileError | None = None
        paths = [SimpleNamespace(path=f"{number}.c") for number in range(files)] + [SimpleNamespace(path="x.h")]
        driver: Any = SimpleNamespace(
            tree=SimpleNamespace(files=paths), declaration=SimpleNamespace(own_toolkit=lambda _: self.own)
        )
        decision = make_decision("amd64", "x")
        source: Any = SimpleNamespace(toolchain_id=self._name_toolchain)
        self.lanes = CompileLanes(
            cache=CompileCache(folder, most=most), drivers={decision.cell.driver: driver},
            sources={decision.cell.source: source}, ensure_ccache=self._ensure, say=self.said.append, check_percent=0,
        )  # fmt: skip

    def _ensure(self, source: str) -> Path | None:
        self.asked.append(source)
        return self.ccache()

    def _name_toolchain(self, _kernel: KernelVersion) -> str:
        if self.fault:
            raise self.fault
        return self.toolchain

    def key(self, decision: Decision) -> str:
        found = self.lanes.find(decision)
        assert found is not None
        return found.lane._own.folder.name


def test_a_driver_of_a_few_files_gains_nothing(tmp_path: Path, decision: Decision) -> None:
    assert _World(tmp_path, files=5).lanes.find(decision) is None
    assert _World(tmp_path, files=6).lanes.find(decision) is not None


def test_nothing_is_fetched_where_the_cache_may_hold_nothing(tmp_path: Path, decision: Decision) -> None:
    world = _World(tmp_path, most=0)
    assert world.lanes.find(decision) is None
    assert not world.asked


def test_ccache_is_asked_for_once(tmp_path: Path, decision: Decision) -> None:
    world = _World(tmp_path)
    found = [world.lanes.find(decision) for _ in range(2)]
    assert [item.ccache for item in found if item] == [Path("/cache/ccache/one")] * 2
    assert len(world.asked) == 1


def _fail() -> Path:
    raise SourceError("the archive does not answer")


@pytest.mark.parametrize(
    ("ccache", "words"), [(_fail, "the archive does not answer"), (lambda: None, "the lock has no ccache")]
)
def test_without_ccache_compiles_go_on_and_it_is_told_once(
    tmp_path: Path, decision: Decision, ccache: Callable[[], Path | None], words: str
) -> None:
    world = _World(tmp_path)
    world.ccache = ccache
    assert [world.lanes.find(decision) for _ in range(2)] == [None, None]
    assert len(world.said) == 1
    assert words in world.said[0]


def test_kernels_share_a_lane_and_base_signers_and_compression_are_no_part_of_it(
    tmp_path: Path, decision: Decision
) -> None:
    world = _World(tmp_path)
    other = replace(_INPUTS, kernel="other", toolkit="other", base="x", compress="xz", signers="x", compiled_for="y")
    assert world.key(decision) == world.key(replace(decision, inputs=other))


@pytest.mark.parametrize("part", ["source", "containerfile", "recipe", "driver", "packages"])
def test_what_a_driver_brings_is_its_lane(tmp_path: Path, decision: Decision, part: str) -> None:
    world = _World(tmp_path)
    changed = replace(decision, inputs=replace(_INPUTS, **{part: "other"}))
    assert world.key(decision) != world.key(changed)


def test_another_toolchain_is_another_lane(tmp_path: Path, decision: Decision) -> None:
    world = _World(tmp_path)
    keys = {world.key(decision)}
    world.toolchain = "gcc-13"
    keys.add(world.key(decision))
    world.own = "quay.test/dtk@sha256:1"
    keys.add(world.key(decision))
    world.ccache = lambda: Path("/cache/ccache/two")
    keys.add(_with_other_ccache(world, decision))
    assert len(keys) == 4


def _with_other_ccache(world: _World, decision: Decision) -> str:
    world.lanes._once.forget(decision.cell.source)
    return world.key(decision)


def test_a_kernel_without_a_toolchain_uses_none(tmp_path: Path, decision: Decision) -> None:
    world = _World(tmp_path)
    world.fault = LockFileError("no toolkit")
    assert world.lanes.find(decision) is None


@pytest.mark.parametrize(("drawn", "percent", "checked"), [(1, 2, True), (2, 2, False), (0, 0, False), (99, 100, True)])
def test_so_many_of_a_hundred_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: int, percent: int, *, checked: bool
) -> None:
    monkeypatch.setattr(secrets, "randbelow", lambda _: drawn)
    assert replace(_World(tmp_path).lanes, check_percent=percent).is_to_be_checked() is checked
