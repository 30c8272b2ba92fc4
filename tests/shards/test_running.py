"""One shard on one machine: what it must not do, and that it does no more than it has to."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.git import GitRepository
from fakes.plans import KEY, make_plan, open_plans, push_sample
from fakes.registry import FakeRegistry
from rich.console import Console

from builder.components.decide import ComponentSelector
from builder.errors import FormatError, UsageError
from builder.kernel import Arch
from builder.plan.matrix import Selector
from builder.plan.project import open_project
from builder.shards.document import ShardWish
from builder.shards.planning import plan_shards, select
from builder.shards.running import check_keys, check_shard, open_planned, run_shard

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.components import Parts

_FEW = select(Selector(), None, has_cells=True, group="few")
_WISH = ShardWish(shards=2, boot="never")


def test_a_project_is_laid_out_and_opened(tmp_path: Path, project_dir: Path) -> None:
    server = FakeRegistry()
    plan = push_sample(server, tmp_path, project_dir)
    here = open_project(tmp_path / "empty", tmp_path / "work")
    project = open_planned(here, plan, open_plans(server, tmp_path))
    assert project.file.parent == tmp_path / "work" / "plans" / plan.name.reference.replace(":", "-")
    assert (project.work_dir, project.is_copy, project.untrusted) == (tmp_path / "work", True, False)
    assert [driver.name for driver in project.config.drivers] == ["demo"]


def test_what_the_plan_does_not_trust_is_not_trusted_here(tmp_path: Path, project_dir: Path) -> None:
    """And what it leaves in the work folder is not found by a build that signs."""
    server = FakeRegistry()
    plan = push_sample(server, tmp_path, project_dir, untrusted=True, publish=False)
    here = open_project(tmp_path / "empty", tmp_path / "work")
    project = open_planned(here, plan, open_plans(server, tmp_path))
    assert project.untrusted
    assert project.work_dir == tmp_path / "work" / "untrusted"


def test_who_trusts_nothing_trusts_no_plan(tmp_path: Path, project_dir: Path) -> None:
    server = FakeRegistry()
    plan = push_sample(server, tmp_path, project_dir)
    here = replace(open_project(tmp_path / "empty", tmp_path / "work"), untrusted=True)
    assert open_planned(here, plan, open_plans(server, tmp_path)).untrusted


def test_a_file_of_pull_secrets_that_is_elsewhere_is_passed_over(tmp_path: Path, project_dir: Path) -> None:
    with (project_dir / "versions.yaml").open("a") as file:
        file.write(f"registry: {{auth_files: [gone.json, {tmp_path}/here.json]}}\n")
    (tmp_path / "here.json").write_text(json.dumps({"auths": {}}))
    server = FakeRegistry()
    plan = push_sample(server, tmp_path, project_dir)
    here = open_project(tmp_path / "empty", tmp_path / "work")
    project = open_planned(here, plan, open_plans(server, tmp_path))
    assert project.config.registry.auth_files == (f"{tmp_path}/here.json",)
    assert open_project(project_dir).config.registry.auth_files[0] == "gone.json", "a checkout still says what is wrong"


def test_a_shard_of_another_architecture_is_refused(project_dir: Path) -> None:
    document = make_plan()
    project = replace(open_project(project_dir), build_arch=Arch.X86_64)
    with pytest.raises(UsageError, match="shard 1 is for machines of aarch64, and this one is x86_64"):
        check_shard(project, document, document.shard(1))


def test_keys_are_those_of_the_plan_or_nothing_is_made(project_dir: Path) -> None:
    document = make_plan()
    project = replace(open_project(project_dir), build_arch=Arch.X86_64)
    with pytest.raises(UsageError):
        check_shard(project, document, document.shard(0))
    check_keys(document, {"demo-1/a": KEY, "demo-1/b": KEY})
    with pytest.raises(UsageError, match="demo-1/a and 1 more of other inputs .* key none, wanted aaaaaaaaaaaa"):
        check_keys(document, {"demo-1/a": "", "demo-1/b": "f" * 64})
    with pytest.raises(UsageError, match="was made by kmodsmith 1.0, and this is"):
        check_keys(document, {"demo-1/a": "f" * 64})


@pytest.mark.usefixtures("registry")
def test_a_shard_makes_its_cells_and_no_others(bench: Bench) -> None:
    project = open_project(bench.folder)
    document = plan_shards(project, _FEW, _WISH).document
    report = run_shard(project, document, document.shard(1), Console(file=io.StringIO()), jobs=1)
    assert {item.decision.cell.id for item in report.build.results} == {*document.shard(1).cells}
    assert {item.status for item in report.published} == {"published"}


@pytest.mark.usefixtures("registry")
def test_component_images_are_made_once(parts: Parts) -> None:
    parts.declare(image="quay.test/plugin")
    parts.offer()
    selection = select(Selector(), ComponentSelector(), has_cells=False, group="few")
    project = parts.project()
    document = plan_shards(project, selection, _WISH).document
    first = run_shard(project, document, document.shard(0), Console(file=io.StringIO()), jobs=None)
    assert [item.status for item in first.images.results] == ["built"]
    assert [item.status for item in first.published] == ["published"]
    elsewhere = open_project(parts.folder, parts.folder.parent / "elsewhere")
    again = run_shard(elsewhere, document, document.shard(0), Console(file=io.StringIO()), jobs=None)
    assert (again.images.results, [item.status for item in again.published]) == ((), ["there"])


def test_a_shard_that_is_not_there_is_told() -> None:
    with pytest.raises(FormatError):
        make_plan().shard(9)


@pytest.mark.usefixtures("registry")
def test_provenance_tells_the_commits_of_the_plan(bench: Bench, tmp_path: Path) -> None:
    """There is no repository on the machine that builds."""
    commit = GitRepository(bench.folder).commit()
    server = FakeRegistry()
    project = open_project(bench.folder)
    document = plan_shards(project, _FEW, _WISH).document
    plan = push_sample(
        server, tmp_path, bench.folder, **{name: getattr(document, name) for name in type(document).model_fields}
    )
    copy = open_planned(open_project(tmp_path / "empty", tmp_path / "work"), plan, open_plans(server, tmp_path))
    run_shard(copy, document, document.shard(0), Console(file=io.StringIO()), jobs=1)
    commits = [item.commits for item in copy.reread().journal.cells.values()]
    assert len(commits) == 2
    assert {(item.name, item.commit) for each in commits for item in each} == {("source", commit), ("project", commit)}
