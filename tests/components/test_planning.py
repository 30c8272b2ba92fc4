"""What a plan for component images reads, and what is needed of the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from fakes.hostile import linking
from fakes.locks import debian_of

from builder.components.decide import ComponentSelector
from builder.components.planning import name_pulled, names_needed, package_source, plan_components
from builder.errors import ConfigError, LockFileError, UsageError
from builder.kernel import Arch
from builder.sources.debian.lock import name_further_set
from builder.sources.lock import Lock
from builder.sources.lock_file import read_lock, write_lock

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.components import Parts

_PIN = f"quay.test/org/base@sha256:{'a' * 64}"


def _lock(parts: Parts, **changes: Any) -> None:
    file = parts.folder / "versions.lock.yaml"
    source = debian_of(read_lock(file))
    sets = {**source.package_sets, **changes.pop("package_sets", {})}
    write_lock(Lock(sources={"debian": source.model_copy(update={"package_sets": sets, **changes})}), file)


def test_without_components_nothing_is_read(parts: Parts) -> None:
    file = parts.folder / "versions.yaml"
    file.write_text(file.read_text().partition("components: ")[0])
    assert plan_components(parts.project(), ComponentSelector()).plan.decisions == ()
    assert names_needed(parts.project()) == set()
    assert not parts.bench.calls("images")
    with pytest.raises(UsageError, match="no component is called"):
        plan_components(parts.project(), ComponentSelector(names=("x",)))


@pytest.mark.parametrize(
    ("file", "field"),
    [("plugin.py", "source"), ("Containerfile", "containerfile"), ("LICENSE", "licenses")],
)
def test_each_file_is_an_input(parts: Parts, file: str, field: str) -> None:
    before = parts.plan().plan.decisions[0].inputs
    parts.edit(file, "changed")
    after = parts.plan().plan.decisions[0].inputs
    assert before is not None
    assert after is not None
    assert getattr(before, field) != getattr(after, field)
    assert before.key != after.key


def test_bases_and_packages_are_inputs(parts: Parts) -> None:
    _lock(
        parts,
        package_sets={
            name_further_set("runtime-x86_64", ["gcc"]): ("gcc",), name_further_set("runtime-x86_64", ["make"]): (),
        },
    )  # fmt: skip
    seen = set()
    for changes in (
        {}, {"packages": ["gcc"]}, {"build_packages": ["gcc"]}, {"build_packages": ["make"]}, {"base_image": _PIN},
        {"build_image": _PIN},
    ):  # fmt: skip
        parts.declare(**changes)
        (decision,) = parts.plan().plan.decisions
        assert decision.action == "build", decision.explanation
        seen.add(decision.key)
    assert len(seen) == 6


@pytest.mark.parametrize("key", ["packages", "build_packages"])
def test_packages_that_the_lock_does_not_have_cost_their_component_alone(parts: Parts, key: str) -> None:
    parts.declare({"name": "tools"}, **{key: ["python3.11"]})
    refused, good = parts.plan().plan.decisions
    assert (refused.action, refused.reason, refused.key) == ("refuse", "no-base-image", "")
    assert refused.explanation == (
        "the lock does not hold the packages of its image (python3.11): run 'nox -s discover'"
    )
    assert good.action == "build"
    _lock(parts, lacking={name_further_set("runtime-x86_64", ["python3.11"]): "E: Unable to locate package"})
    assert "cannot be had: E: Unable to locate package" in parts.plan().plan.decisions[0].explanation
    code, (told, _) = parts.build("--component", "plugin")
    assert (code, told["status"]) == (20, "refused"), "and the other failed: it has no image here"


def test_a_project_without_debian_says_what_to_do(parts: Parts) -> None:
    file = parts.folder / "versions.yaml"
    file.write_text(
        file.read_text().replace("debian: {provider: debian}", "debian: {provider: openshift, channels: [fast-4.17]}")
    )
    with pytest.raises(LockFileError, match="give the component a base_image"):
        package_source(parts.project())
    (decision,) = parts.plan().plan.decisions
    assert (decision.action, decision.reason) == ("refuse", "no-base-image")
    parts.declare(base_image=_PIN)
    assert parts.plan().plan.decisions[0].action == "build"


def test_a_lock_with_something_else_under_the_name_says_so(parts: Parts) -> None:
    (parts.folder / "versions.lock.yaml").unlink()
    (decision,) = parts.plan().plan.decisions
    assert decision.action == "refuse"


def test_strangers_have_names_and_keys_of_their_own(parts: Parts) -> None:
    build = f"quay.test/org/build@sha256:{'b' * 64}"
    for changes in ({}, {"build_image": build}, {"base_image": _PIN, "build_image": _PIN}):
        parts.declare(image="quay.test/org/plugin", **changes)
        (trusted,) = parts.plan().plan.decisions
        (stranger,) = parts.plan(untrusted=True).plan.decisions
        assert trusted.key != stranger.key
        assert trusted.item.names == ("quay.test/org/plugin:0.1.0-amd64", "quay.test/org/plugin:0.1.0")
        assert {name.rpartition(":")[0] for name in stranger.item.names} == {"localhost/untrusted/plugin"}
        assert trusted.inputs is not None
        assert "untrusted" not in trusted.inputs.build


@pytest.mark.parametrize("place", ["plugin/Containerfile", "plugin/LICENSE", "plugin/requirements.lock", "plugin"])
def test_nothing_of_the_host_is_read_through_links(parts: Parts, outside: Path, place: str) -> None:
    parts.declare(wheels={"lock": "plugin/requirements.lock", "python": "3.11"})
    parts.edit("requirements.lock", "")
    for name in ("Containerfile", "requirements.lock"):
        (outside / name).write_text("")
    linking(place, str(outside / place.removeprefix("plugin").removeprefix("/")))(parts.folder)
    with pytest.raises(ConfigError, match="leads out of the project"):
        parts.plan(untrusted=True)


@pytest.mark.parametrize("place", ["Containerfile", "LICENSE", "requirements.lock"])
def test_pipes_are_no_files(parts: Parts, place: str) -> None:
    parts.declare(wheels={"lock": "plugin/requirements.lock", "python": "3.11"})
    parts.edit("requirements.lock", "")
    (parts.folder / "plugin" / place).unlink()
    os.mkfifo(parts.folder / "plugin" / place)
    with pytest.raises(ConfigError, match=f"there is no file plugin/{place}"):
        parts.plan(untrusted=True)


def test_what_is_needed_of_the_store(parts: Parts) -> None:
    parts.declare({"name": "tools", "base_image": _PIN, "build_image": _PIN})
    plugin, tools = parts.plan().plan.decisions
    assert plugin.inputs is not None
    assert tools.inputs is not None
    source = package_source(parts.project())
    assert names_needed(parts.project()) == {
        plugin.inputs.key_image, tools.inputs.key_image, source.package_image(Arch.X86_64, ()),
        name_pulled(_PIN, Arch.X86_64),
    }  # fmt: skip


def test_what_is_refused_today_keeps_what_was_made_before(parts: Parts) -> None:
    parts.offer()
    parts.build()
    key = parts.plan().plan.decisions[0].key
    parts.declare(packages=["python3.11"])
    assert parts.reasons() == ["refuse: no-base-image"]
    assert names_needed(parts.project()) == {f"localhost/kmodsmith/component:{key}"}


def test_a_pulled_base_is_named_by_architecture_and_digest() -> None:
    assert name_pulled(_PIN, Arch.AARCH64) == f"localhost/kmodsmith/base:aarch64-{'a' * 16}"
    assert name_pulled(_PIN, Arch.AARCH64) != name_pulled(_PIN, Arch.X86_64)
