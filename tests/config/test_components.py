"""Component images in versions.yaml: what is refused, and where it is told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from fakes.components import write_component
from fakes.hostile import linking
from fakes.versions_yaml import find_mistakes, load, write_operator, write_tekton

from builder.components.source import read_component

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wheels": {"lock": "absent", "python": "3.11"}}, "wheels.lock: there is no file absent"),
        ({"source": "absent"}, "source: there is no folder absent"),
        ({"source": "plugin/LICENSE"}, "source: there is no folder plugin/LICENSE"),
        ({"containerfile": "plugin"}, "containerfile: there is no file plugin"),
        ({"licenses": ["absent"]}, "licenses[0]: there is no file absent"),
        ({"source": "../outside"}, "source"),
        ({"containerfile": "/etc/passwd"}, "containerfile"),
    ],
)
def test_mistakes(project_dir: Path, outside: Path, changes: dict[str, Any], words: str) -> None:
    assert outside.is_dir()
    write_component(project_dir, **changes)
    assert any(words in mistake for mistake in find_mistakes(project_dir)), find_mistakes(project_dir)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({}, {"image": "quay.test/x/y"}, "components[1].name: 'plugin' is already the name of a component"),
        (
            {"image": "quay.test/org/a"}, {"name": "b", "image": "quay.test/org/a"},
            "components[1].image: its images and those of component 'plugin' would have the same names",
        ),
        (
            {}, {"name": "b", "image": "localhost/plugin"},
            "components[1].image: its images and those of component 'plugin' would have the same names",
        ),
        ({}, {"name": "demo"}, "components[1].name: its images and those of driver 'demo' would have the same names"),
    ],
)  # fmt: skip
def test_two_cannot_have_one_name(project_dir: Path, first: dict[str, Any], second: dict[str, Any], words: str) -> None:
    write_component(project_dir, second, **first)
    assert any(words in mistake for mistake in find_mistakes(project_dir)), find_mistakes(project_dir)


_PLUGIN = {"driver": "demo", "resource": "drivers.example.com/demo"}


def test_kmm_runs_one_device_plugin_beside_a_driver(project_dir: Path) -> None:
    by_kmm = {**_PLUGIN, "managed_by": "kmm"}
    write_component(project_dir, {"name": "b", "device_plugin": _PLUGIN}, device_plugin=by_kmm)
    assert load(project_dir).components
    write_component(project_dir, {"name": "b", "device_plugin": by_kmm}, device_plugin=by_kmm)
    (mistake,) = find_mistakes(project_dir)
    assert mistake.startswith("components[1].device_plugin.managed_by: KMM runs one device plugin beside a driver")
    assert "'plugin' is that of 'demo'" in mistake


@pytest.mark.parametrize("untrusted", [False, True])
@pytest.mark.parametrize(
    ("place", "target", "key"),
    [
        ("plugin/LICENSE", "LICENSE", "licenses[0]"),
        ("plugin/Containerfile", "secret", "containerfile"),
        ("plugin/requirements.lock", "secret", "wheels.lock"),
    ],
)
def test_links_lead_nowhere_but_where_the_command_line_allows(
    project_dir: Path, outside: Path, place: str, target: str, key: str, *, untrusted: bool
) -> None:
    write_component(project_dir, wheels={"lock": "plugin/requirements.lock", "python": "3.11"})
    (project_dir / "plugin" / "requirements.lock").touch()
    linking(place, str(outside / target))(project_dir)
    (mistake,) = find_mistakes(project_dir, untrusted=untrusted)
    assert mistake.startswith(f"components[0].{key}: {place} leads out of the project")
    assert load(project_dir, outside=(outside,)).components


def _pipe(file: Path) -> None:
    os.mkfifo(file)


def _folder(file: Path) -> None:
    file.mkdir()


def _loop(file: Path) -> None:
    file.symlink_to(file.name)


@pytest.mark.parametrize("make", [_pipe, _folder, _loop])
@pytest.mark.parametrize("name", ["LICENSE", "Containerfile"])
def test_what_is_no_file_is_not_read(project_dir: Path, make: Callable[[Path], None], name: str) -> None:
    write_component(project_dir)
    (project_dir / "plugin" / name).unlink()
    make(project_dir / "plugin" / name)
    (mistake,) = find_mistakes(project_dir)
    assert f"plugin/{name}" in mistake


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"component": "other"}, "operator.component: there is no component 'other'"),
        ({"drivers": ["dem"]}, "operator.drivers[0]: there is no driver 'dem'"),
    ],
)
def test_an_operator_that_cannot_be_is_told(project_dir: Path, changes: dict[str, Any], words: str) -> None:
    write_operator(project_dir, **changes)
    assert any(words in mistake for mistake in find_mistakes(project_dir)), find_mistakes(project_dir)


@pytest.mark.parametrize(
    "version",
    [
        "1.0", "v1.0.0", "1.0.0+7", "20250329", "01.0.0", "1.0.0-RC1", "1.0.0-a..b", "1.0.0-01", "1.0.0-rc-.1", "1.0.0--1",
    ],
)  # fmt: skip
def test_a_version_of_the_operator_can_be_compared(project_dir: Path, version: str) -> None:
    write_operator(project_dir, {"version": version})
    (mistake,) = find_mistakes(project_dir)
    assert mistake.startswith(f"components[0].version: '{version}' is no version that Operator Lifecycle Manager")


@pytest.mark.parametrize("version", ["0.1.0", "1.4.0-rc.1", "1.4.0-0", "10.20.30-a-b.0x"])
def test_a_version_before_a_release_is_one(project_dir: Path, version: str) -> None:
    write_operator(project_dir, {"version": version})
    assert load(project_dir).components[0].version == version


def test_an_operator_changes_nothing_that_images_are_made_of(project_dir: Path) -> None:
    write_component(project_dir)
    before = load(project_dir)
    write_operator(project_dir)
    after = load(project_dir)
    assert (before.drivers, before.components) == (after.drivers, after.components)
    assert read_component(before.components[0]).recipe_digest == read_component(after.components[0]).recipe_digest


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("  group: nobody\n", "tekton.group: there is no group 'nobody'"),
        ("  release_group: nobody\n", "tekton.release_group: there is no group 'nobody'"),
        ("  resources: {memory: 4Gi}\n", "tekton.resources.memory: a pod of 4Gi ends with the compile"),
        ("  resources: {memory: 1023Mi}\nbuild: {compile_memory: 1024}\n", "a pod of 1023Mi ends"),
        ("build: {compile_memory: 5120}\n", "it needs more than the 5120 MiB of build.compile_memory"),
    ],
)
def test_what_is_wrong_with_pipelines_is_told(project_dir: Path, text: str, mistake: str) -> None:
    write_tekton(project_dir, text)
    assert mistake in "; ".join(find_mistakes(project_dir))


def test_a_pod_that_has_more_than_its_compile_is_right(project_dir: Path) -> None:
    write_tekton(project_dir, "  resources: {memory: 1025Mi}\nbuild: {compile_memory: 1024}\n")
    settings = load(project_dir).tekton
    assert settings is not None
    assert settings.resources.memory_mib == 1025
