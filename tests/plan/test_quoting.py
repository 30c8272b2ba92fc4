"""Quotes of a project: counted by its lock, timed by its journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.bench import Bench

from builder.errors import LockFileError, UsageError
from builder.plan.project import open_project
from builder.plan.quote import Addition, Quote
from builder.plan.quoting import quote_groups

if TYPE_CHECKING:
    from fakes.bench import Bench


def _quotes(bench: Bench, group: str = "few") -> dict[tuple[Addition, str], Quote]:
    return {(item.addition, item.about): item for item in quote_groups(open_project(bench.folder), [group])}


def test_before_the_first_build_kernels_are_counted_and_times_are_not_known(bench: Bench) -> None:
    found = _quotes(bench)
    driver = found[Addition.DRIVER, "one more for the 4 kernels of group few"]
    assert (driver.kernels, driver.wall, driver.cpu) == (4, None, None)
    arm = found[Addition.ARCHITECTURE, "aarch64"]
    assert (arm.kernels, arm.cells) == (1, 1), "the newest, as the group wants it"


def test_a_build_tells_what_cells_take_and_a_failure_later_on_changes_nothing(bench: Bench) -> None:
    bench.build()
    found = _quotes(bench)
    driver = found[Addition.DRIVER, "one more for the 4 kernels of group few"]
    assert driver.wall is not None
    assert driver.cpu is not None
    assert driver.cpu.usual > 0
    assert driver.stored is not None
    assert driver.basis[-1].endswith("demo (4 cells)")
    bench.break_kernel("6.1.0-10-amd64", "src/demo.c:3:1: error: implicit declaration of function 'x'")
    (bench.folder / "src" / "demo.c").write_text("int other;\n")
    bench.run("build")
    assert _quotes(bench)[Addition.DRIVER, driver.about].basis[-1].endswith("demo (4 cells)")


def test_a_group_of_all_architectures_has_none_to_add(bench: Bench) -> None:
    found = _quotes(bench, "all")
    assert "has no kernel" in found[Addition.ARCHITECTURE, "one more"].unknown[0]


def test_no_such_group_and_no_lock(bench: Bench) -> None:
    with pytest.raises(UsageError, match="no group 'fewest'"):
        _quotes(bench, "fewest")
    (bench.folder / "versions.lock.yaml").unlink()
    with pytest.raises(LockFileError):
        _quotes(bench)
