from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from builder.config.load import load_config
from builder.errors import LockFileError, UsageError
from builder.kernel import Arch, Variant
from builder.plan.matrix import Matrix, Selector, make_matrix, nearest
from builder.sources.lock import Lock
from builder.sources.lock_file import read_lock

if TYPE_CHECKING:
    from pathlib import Path


def _matrix(folder: Path, selector: Selector, extra: str = "") -> Matrix:
    file = folder / "versions.yaml"
    file.write_text(file.read_text() + extra)
    return make_matrix(load_config(file, today=date(2026, 11, 23)), read_lock(folder / "versions.lock.yaml"), selector)


def test_newest_takes_one_of_each_series_and_variant(project_dir: Path) -> None:
    cells = _matrix(project_dir, Selector()).cells
    assert [cell.kernel.raw for cell in cells] == [
        "6.1.0-10-amd64",
        "6.1.0-10-cloud-amd64",
        "6.1.0-10-rt-amd64",
        "6.12.5+deb12-amd64",
    ]
    assert cells[0].id == "demo-1.2.0/6.1.0-10-amd64"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (Selector(group="all"), 6),
        (Selector(group="all", kernels=("6.12*",)), 2),
        (Selector(group="all", kernels=("6.12*", "*-rt-*")), 3),
        (Selector(group="all", arches=(Arch.AARCH64,)), 1),
        (Selector(group="all", variants=(Variant.RT,)), 1),
        (Selector(group="all", drivers=("de*",)), 6),
    ],
)
def test_selectors(project_dir: Path, selector: Selector, expected: int) -> None:
    assert len(_matrix(project_dir, selector).cells) == expected


@pytest.mark.parametrize(
    ("selector", "words", "hint"),
    [
        (Selector(group="al"), "no group 'al'", "did you mean 'all'?"),
        (Selector(drivers=("demmo",)), "no driver matches demmo", "did you mean 'demo'?"),
        (Selector(kernels=("7.*",)), "no kernel of group 'few' matches", "plan"),
    ],
)
def test_selecting_nothing_is_an_error(project_dir: Path, selector: Selector, words: str, hint: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        _matrix(project_dir, selector)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("known", "hint"),
    [
        (["demo"], "did you mean 'demo'?"),
        ([], "there is none"),
        (["x", "y", "x"], "there are: x, y"),
        (map(str, range(25)), f"there are: {', '.join(map(str, range(20)))} and 5 more"),
    ],
)
def test_a_word_that_is_not_there_is_told_with_those_that_are(known: list[str], hint: str) -> None:
    assert nearest("demmo", known) == hint


def test_what_is_left_out_keeps_its_reason(project_dir: Path) -> None:
    extra = """
exclude: [{kernel: "*-cloud-*", reason: no devices there}]
known_bad: [{kernel: "6.12*", driver: demo, reason: bug 7, owner: jo, expires: 2027-01-31}]
"""
    matrix = _matrix(project_dir, Selector(), extra)
    assert len(matrix.cells) == 2
    assert [(entry.code, entry.reason) for entry in matrix.left_out] == [
        ("excluded", "no devices there"),
        ("known-bad", "bug 7 (owner jo, until 2027-01-31)"),
    ]


def test_a_source_without_kernels_in_the_lock(project_dir: Path) -> None:
    config = load_config(project_dir / "versions.yaml", today=date(2026, 11, 23))
    with pytest.raises(LockFileError, match="no kernels of source 'debian'"):
        make_matrix(config, Lock(), Selector())
