"""Plans for many machines: what registries lack, for machines of each architecture, and nothing of this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.git import GitRepository

from builder.components.decide import ComponentSelector
from builder.drivers.commit import Dirty
from builder.errors import UsageError
from builder.kernel import Arch
from builder.plan.decide import Action, Reason
from builder.plan.matrix import Selector
from builder.plan.planning import plan_project
from builder.plan.project import open_project
from builder.publish.elsewhere import find_elsewhere
from builder.shards import planning as module
from builder.shards.document import ShardWish
from builder.shards.planning import as_on_a_new_machine, cells_of, place_cells, plan_shards, select

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.components import Parts
    from fakes.registry import FakeRegistry

    from builder.plan.project import Project

_FEW = select(Selector(), None, has_cells=True, group="few")
_WISH = ShardWish(shards=4, boot="never")


def _tag_twice(bench: Bench) -> None:
    with (bench.folder / "versions.yaml").open("a") as file:
        file.write("publish: {tags: [version-kernel, kernel]}\n")


def test_what_this_machine_has_does_not_count(bench: Bench, registry: FakeRegistry) -> None:
    del registry
    bench.build("--boot", "never")
    sharded = plan_shards(open_project(bench.folder), _FEW, _WISH)
    assert {item.reason for item in sharded.plan.decisions} == {Reason.NEVER_BUILT}
    assert len({item for shard in sharded.document.shards for item in shard.cells}) == 4
    assert not (bench.folder / ".kmodsmith" / "nothing-built").exists()


def test_an_image_with_one_of_its_names_is_made_again(bench: Bench, registry: FakeRegistry) -> None:
    """A machine was killed between them; who makes it again completes it."""
    _tag_twice(bench)
    bench.offer_with_keys()
    bench.build("--boot", "never")
    assert bench.run("publish")[0] == 0
    project = open_project(bench.folder)
    assert plan_shards(project, _FEW, _WISH).document.shards == ()
    del registry.manifests["demo", "6.1.0-10-amd64"]
    (shard,) = plan_shards(project, _FEW, _WISH).document.shards
    assert shard.cells == ("demo-1.2.0/6.1.0-10-amd64",)


def test_no_answer_about_a_further_name_is_no_answer(bench: Bench, registry: FakeRegistry) -> None:
    _tag_twice(bench)
    bench.offer_with_keys()
    bench.build("--boot", "never")
    assert bench.run("publish")[0] == 0

    def refuse(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(403) if request.url.path.endswith("/manifests/6.1.0-10-amd64") else None

    registry.faults.append(refuse)
    project = as_on_a_new_machine(open_project(bench.folder))
    decisions = [item.decision for item in place_cells(project, _FEW, "never")]
    found = find_elsewhere(project, cells_of(_FEW), decisions)
    assert [bool(found[item.cell.id].problem) for item in decisions] == [
        item.cell.kernel.raw == "6.1.0-10-amd64" for item in decisions
    ]


@pytest.mark.usefixtures("registry")
def test_what_only_another_machine_builds_is_for_shards_of_its_architecture(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the toolkits of OpenShift, each of which runs on its own architecture."""
    arm = "6.1.0-10-amd64"  # it is the machine that matters here

    def plan(project: Project, selector: Selector, **options: Any) -> Any:
        found = plan_project(replace(project, build_arch=Arch.X86_64), selector, **options)
        if project.build_arch is Arch.AARCH64:
            return found
        decisions = tuple(
            replace(item, action=Action.REFUSE, reason=Reason.OTHER_MACHINE, key="")
            if item.cell.kernel.raw == arm
            else item
            for item in found.plan.decisions
        )
        return replace(found, plan=replace(found.plan, decisions=decisions))

    project = replace(open_project(bench.folder), build_arch=Arch.X86_64)
    monkeypatch.setattr("builder.shards.planning.plan_project", plan)
    document = plan_shards(project, _FEW, _WISH).document
    cells = {item: shard.arch for shard in document.shards for item in shard.cells}
    assert cells.pop(f"demo-1.2.0/{arm}") is Arch.AARCH64
    assert set(cells.values()) == {Arch.X86_64}
    assert document.numbers(Arch.AARCH64) == [str(len(document.shards) - 1)] or document.numbers(Arch.AARCH64) == ["0"]


def test_what_would_be_lost_with_its_machine_is_refused(bench: Bench) -> None:
    project = open_project(bench.folder)
    with pytest.raises(UsageError, match="no 'image' in a registry: driver demo"):
        plan_shards(project, _FEW, _WISH)
    document = plan_shards(project, _FEW, replace(_WISH, publish=False)).document
    assert not document.publish
    assert document.shards


@pytest.mark.usefixtures("registry")
def test_what_is_not_trusted_is_not_published(bench: Bench) -> None:
    document = plan_shards(open_project(bench.folder).distrust(), _FEW, _WISH).document
    assert (document.untrusted, document.publish) == (True, False)


@pytest.mark.usefixtures("registry")
def test_component_images_are_made_by_shards_too(parts: Parts) -> None:
    parts.declare(image="quay.test/plugin")
    selection = select(Selector(), ComponentSelector(names=("plugin",)), has_cells=False, group="few")
    document = plan_shards(parts.project(), selection, _WISH).document
    assert [item for shard in document.shards for item in shard.components] == ["plugin-0.1.0/x86_64"]
    assert not document.cells


@pytest.mark.usefixtures("registry")
def test_component_images_that_are_published_are_left_alone(parts: Parts) -> None:
    parts.declare(image="quay.test/plugin")
    parts.offer()
    assert parts.bench.run("build", "--component", "plugin")[0] == 0
    assert parts.bench.run("publish", "--component", "plugin")[0] == 0
    selection = select(Selector(), ComponentSelector(), has_cells=False, group="few")
    sharded = plan_shards(parts.project(), selection, _WISH)
    assert [item.reason for item in sharded.images.decisions] == [Reason.PUBLISHED]
    assert not sharded.document.shards


def test_component_images_of_which_nothing_is_known_are_not_made(parts: Parts, registry: FakeRegistry) -> None:
    parts.declare(image="quay.test/plugin")
    registry.faults.append(lambda _: httpx.Response(403))
    selection = select(Selector(), ComponentSelector(), has_cells=False, group="few")
    sharded = plan_shards(parts.project(), selection, _WISH)
    assert [item.reason for item in sharded.images.decisions] == [Reason.REGISTRY_UNKNOWN]
    assert not sharded.document.shards


def test_shares_follow_the_work_and_nobody_gets_none() -> None:
    divide = module._divide
    assert divide(64, {Arch.X86_64: 900, Arch.AARCH64: 100}) == {Arch.AARCH64: 6, Arch.X86_64: 57}
    assert divide(1, {Arch.X86_64: 9, Arch.AARCH64: 1}) == {Arch.AARCH64: 1, Arch.X86_64: 1}
    assert divide(4, {Arch.X86_64: 1000, Arch.AARCH64: 1, Arch.S390X: 1}) == {
        Arch.AARCH64: 1, Arch.S390X: 1, Arch.X86_64: 2,
    }  # fmt: skip
    assert divide(64, {}) == {}


def _commit(folder: Path) -> str:
    repository = GitRepository(folder)
    return repository.commit()


@pytest.mark.usefixtures("registry")
def test_commits_travel_with_the_plan(bench: Bench) -> None:
    commit = _commit(bench.folder)
    found = plan_shards(open_project(bench.folder), _FEW, _WISH).document.commits
    assert {name: (item.name, item.commit, item.dirty) for name, item in found.items()} == {
        "driver demo": ("source", commit, Dirty.NO),
        "project": ("project", commit, Dirty.NO),
    }
    (bench.folder / "src" / "demo.c").write_text("int other;\n")
    found = plan_shards(open_project(bench.folder), _FEW, _WISH).document.commits
    assert (found["driver demo"].dirty, found["project"].dirty) == (Dirty.YES, Dirty.NO)
