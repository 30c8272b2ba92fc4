"""How many cells are built at once, and which signers a plan has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.outcomes import RESULTS

from builder.errors import UsageError
from builder.plan import planning
from builder.plan.decide import Plan
from builder.plan.matrix import Selector
from builder.plan.planning import BootOptions, choose_workers, kernels_by_source, read_signers
from builder.plan.project import open_project

if TYPE_CHECKING:
    from pathlib import Path

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
