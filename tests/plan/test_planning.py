"""How many cells are built at once, and which signers a plan has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.outcomes import RESULTS

from builder.errors import ConfigError, UsageError
from builder.plan import planning
from builder.plan.decide import Plan
from builder.plan.matrix import Selector
from builder.plan.planning import BootOptions, check_names_apart, choose_workers, kernels_by_source, read_signers
from builder.plan.project import open_project

if TYPE_CHECKING:
    from pathlib import Path

    from builder.plan.project import Project

_PLAN = Plan(decisions=tuple(result.decision for result in RESULTS))


@pytest.mark.parametrize(
    ("asked", "settings", "cores", "memory_gib", "workers"),
    [
        (None, "", 3, 1000, 4),  # one more than there are cores
        (None, "", 300, 1000, 6),  # no more than there is work
        (None, "memory_per_job: 1024", 300, 2, 2),
        (None, "memory_per_job: 1024", 300, 0, 1),
        (None, "jobs: 5", 300, 0, 5),
        (3, "jobs: 5", 300, 0, 3),
    ],
)
def test_as_many_cells_at_once_as_machine_and_work_allow(
    project_dir: Path, monkeypatch: pytest.MonkeyPatch,
    asked: int | None, settings: str, cores: int, memory_gib: int, workers: int,
) -> None:  # fmt: skip
    file = project_dir / "versions.yaml"
    file.write_text(f"{file.read_text()}build: {{{settings}}}\n")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores))
    monkeypatch.setattr(planning, "available_memory", lambda: memory_gib * 2**30)
    assert choose_workers(open_project(project_dir), _PLAN, asked) == workers


def test_kernels_come_in_the_order_of_their_cells_and_once() -> None:
    twice = Plan(decisions=(*_PLAN.decisions, *_PLAN.decisions))
    assert kernels_by_source(twice) == kernels_by_source(_PLAN)
    assert [kernel.raw for kernel in kernels_by_source(_PLAN)["debian"]][:2] == ["6.1.0-9-amd64", "6.1.0-10-amd64"]


def test_what_is_not_trusted_has_no_signers(project_dir: Path) -> None:
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text().replace("newest: true,", "newest: true, signers: [absent],"))
    file.write_text(f"{file.read_text()}signers: {{absent: {{certificate: absent.pem, key_file: a.key}}}}\n")
    project = open_project(project_dir)
    assert read_signers(project.distrust(), Selector()) == ()
    assert read_signers(project, Selector(group="all")) == ()


_SIGNERS = "signers: {a: {certificate: a.pem, key_file: a.key}, b: {certificate: b.pem, key_file: b.key}}\n"


def _two_groups(folder: Path, few: str, every: str) -> Project:
    file = folder / "versions.yaml"
    text = file.read_text().replace("newest: true,", f"newest: true, {few}")
    file.write_text(text.replace("all: {source: debian}", f"all: {{source: debian, {every}}}") + _SIGNERS)
    return open_project(folder)


@pytest.mark.parametrize(
    ("few", "every", "said"),
    [
        ("signers: [a],", "", "a signs, and nobody signs in group 'all'"),
        ("", "signers: [a, b]", "nobody signs, and a and b sign in group 'all'"),
        ("signers: [a],", "signers: [b]", "a signs, and b signs in group 'all'"),
        ("signers: [a], tag_suffix: -x,", "tag_suffix: -x", "localhost/demo:1.2.0-6.1.0-10-amd64-x from the other"),
    ],
)
def test_groups_that_sign_otherwise_do_not_take_names_from_each_other(
    project_dir: Path, few: str, every: str, said: str
) -> None:
    project = _two_groups(project_dir, few, every)
    with pytest.raises(ConfigError) as raised:
        check_names_apart(project, "few")
    (mistake,) = raised.value.mistakes
    assert (mistake.line, mistake.path) == (13, "groups.few.signers")
    assert said in mistake.message
    assert "which takes 6.1.0-10-amd64 and 3 more of its cells, too" in mistake.message
    assert "'tag_suffix'" in str(raised.value.hint)
    check_names_apart(project.distrust(), "few")


@pytest.mark.parametrize(
    ("few", "every"),
    [
        ("signers: [a],", "signers: [a]"),
        ("signers: [a],", "signers: [a], newest: true"),
        ("signers: [a],", "tag_suffix: -dev"),
        ("signers: [a],", "kernels: ['6.1.0-9-*']"),
        ("signers: [a],", "arches: [aarch64]"),
        ("signers: [a],", "kernels: ['7.*']"),
    ],
)
def test_groups_that_agree_or_share_no_kernel_may_have_the_same_names(project_dir: Path, few: str, every: str) -> None:
    check_names_apart(_two_groups(project_dir, few, every), "few")


def test_what_is_excluded_takes_no_name(project_dir: Path) -> None:
    project = _two_groups(project_dir, "signers: [a],", "kernels: ['*-rt-*']")
    with project.file.open("a") as file:
        file.write('exclude: [{kernel: "*-rt-*", reason: none}]\n')
    check_names_apart(project, "few")


def test_boot_tests_that_are_wanted(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = open_project(project_dir)
    options = BootOptions(mode="secure")
    assert (options.policy(project), replace(options, when="always").policy(project)) == (
        project.config.build.boot,
        "always",
    )
    assert options.wish("never") is None
    wish = options.wish("always")
    assert wish is not None
    assert wish.mode == "secure"
    monkeypatch.setattr(planning, "list_images", dict)
    with pytest.raises(UsageError, match="no image localhost/os:1"):
        BootOptions(os_image="localhost/os:1").wish("always")
