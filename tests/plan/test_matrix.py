from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
import yaml
from fakes.locks import parsed

from builder.config.load import load_config
from builder.errors import LockFileError, UsageError
from builder.kernel import Arch, Variant
from builder.plan.matrix import Matrix, Selector, make_matrix, nearest
from builder.sources.lock import Lock, LockedNodeKernel
from builder.sources.lock_file import read_lock
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease

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
        (Selector(group="all", cells=frozenset({"demo-1.2.0/6.1.0-9-amd64", "demo-1.2.0/another"})), 1),
    ],
)
def test_selectors(project_dir: Path, selector: Selector, expected: int) -> None:
    assert len(_matrix(project_dir, selector).cells) == expected


@pytest.mark.parametrize(
    ("selector", "words", "hint"),
    [
        (Selector(group="al"), "no group 'al'", "did you mean 'all'?"),
        (Selector(drivers=("demmo",)), "no driver matches demmo", "did you mean 'demo'?"),
        (Selector(cells=frozenset({"demo-1.2.0/7"})), "no kernel of group 'few' matches", "plan"),
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


_K = {number: f"5.14.0-427.{number}.1.el9_4.x86_64" for number in range(1, 6)}
_RUN_BY = {
    1: ("4.18.1",),
    2: ("4.18.0-rc.1", "4.18.1"),
    3: ("4.18.0-ec.1", "4.18.0-rc.1"),
    4: ("4.18.2-hotfix.1",),
    5: ("4.17.9-assembly.art1.2", "4.18.0-rc.2"),
}


def _of_releases(folder: Path, group: str, selector: Selector | None = None) -> Matrix:
    file = folder / "versions.yaml"
    config = yaml.safe_load(file.read_text())
    config["sources"]["ocp"] = {"provider": "openshift", "channels": ["candidate-4.18"]}
    config["groups"]["ocp"] = {"source": "ocp"} | yaml.safe_load(group)
    file.write_text(yaml.safe_dump(config))
    releases = {version for versions in _RUN_BY.values() for version in versions}
    locked = LockedOpenShift(
        provider="openshift",
        resolved="2026-11-23T00:00:00Z",
        releases={f"{version}-x86_64": LockedRelease() for version in releases},
        kernels=parsed({_K[n]: LockedNodeKernel(releases=run, streams=()) for n, run in _RUN_BY.items()}),
    )
    lock = Lock(sources={"ocp": locked})
    return make_matrix(load_config(file, today=date(2026, 11, 23)), lock, selector or Selector(group="ocp"))


@pytest.mark.parametrize(
    ("group", "taken", "left_out"),
    [
        ("{}", [1, 2], [3, 4, 5]),
        ("{releases: ['4.18.*']}", [1, 2], [3, 4, 5]),
        ("{releases: ['4.18.*'], include: [ga, candidate]}", [1, 2, 3, 5], [4]),
        ("{releases: ['4.18.*'], include: [candidate]}", [2, 3, 5], [1, 4]),
        ("{include: [ga, candidate, hotfix]}", [1, 2, 3, 4, 5], []),
        ("{include: [hotfix]}", [4, 5], [1, 2, 3]),
        ("{releases: ['4.17.*'], include: [hotfix]}", [5], []),
        ("{releases: [4.18.0-rc.2, 4.18.1]}", [1, 2, 5], []),
        ("{releases: ['4.18.0-rc.*', 4.18.1]}", [1, 2], [3, 5]),
        ("{newest: true, include: [candidate, hotfix]}", [5], []),
        ("{newest: true}", [2], [5]),
    ],
)
def test_a_group_takes_kernels_by_the_kinds_of_releases_that_run_them(
    project_dir: Path, group: str, taken: list[int], left_out: list[int]
) -> None:
    matrix = _of_releases(project_dir, group)
    assert [cell.kernel.raw for cell in matrix.cells] == [_K[number] for number in taken]
    assert [entry.cell.kernel.raw for entry in matrix.left_out] == [_K[number] for number in left_out]
    assert {entry.code for entry in matrix.left_out} <= {"release-kind"}


def test_what_a_kind_leaves_out_says_which_releases_run_it(project_dir: Path) -> None:
    matrix = _of_releases(project_dir, "{include: [ga, hotfix]}")
    assert [entry.reason for entry in matrix.left_out] == [
        "of the releases of group 'ocp', it is run by 4.18.0-ec.1, 4.18.0-rc.1 only, and the group includes ga, hotfix"
    ]
    one = Selector(group="ocp", kernels=(_K[3],))
    with pytest.raises(UsageError, match=rf"no kernel of group 'ocp' matches: {_K[3]} is left out: of the") as caught:
        _of_releases(project_dir, "{}", one)
    assert "'include'" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"is left out \(and 2 more\): of the"):
        _of_releases(project_dir, "{releases: ['4.18.0-rc.*']}")


def test_kernels_of_a_source_without_releases_have_no_kind(project_dir: Path) -> None:
    assert len(_matrix(project_dir, Selector(group="all")).cells) == 6
