"""Component images in versions.yaml: what is refused, and where it is told."""

from __future__ import annotations

import json
import os
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from fakes.components import write_component
from fakes.hostile import linking

from builder.components.source import read_component
from builder.config.load import load_config
from builder.errors import ConfigError
from builder.kernel import Arch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from builder.config.model import Config

_TODAY = date(2026, 11, 23)
_PIN = f"quay.test/org/base@sha256:{'a' * 64}"


def _load(project: Path, *, outside: tuple[Path, ...] = (), untrusted: bool = False) -> Config:
    return load_config(project / "versions.yaml", today=_TODAY, outside=outside, untrusted=untrusted)


def _mistakes(project: Path, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _load(project, **options)
    return [f"{item.path}: {item.message}" for item in caught.value.mistakes]


def test_defaults(project_dir: Path) -> None:
    write_component(project_dir)
    (component,) = _load(project_dir).components
    assert (component.arches, component.packages, component.self_test, component.wheels) == ((Arch.X86_64,), (), (), None)  # fmt: skip
    assert component.image_name == "localhost/plugin"
    assert component.source_dir == project_dir / "plugin"
    assert component.containerfile_file == project_dir / "plugin" / "Containerfile"
    assert component.license_files == (project_dir / "plugin" / "LICENSE",)
    assert component.wheels_file is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_image": _PIN, "packages": ["gcc"]}, "give either base_image or packages, not both"),
        ({"build_image": _PIN, "build_packages": ["gcc"]}, "give either build_image or build_packages, not both"),
        ({"base_image": "quay.test/org/base:latest"}, "base_image"),
        ({"build_image": "quay.test/org/base:latest"}, "build_image"),
        ({"packages": ["gcc", "gcc"]}, "packages names one twice"),
        ({"build_packages": ["gcc", "gcc"]}, "build_packages names one twice"),
        ({"packages": ["gcc=1"]}, "packages[0]"),
        ({"arches": ["x86_64", "x86_64"]}, "arches names one twice"),
        ({"arches": []}, "arches"),
        ({"arches": ["i386"]}, "arches[0]"),
        ({"licenses": []}, "licenses"),
        ({"licenses": ["plugin/LICENSE", "src/LICENSE"]}, "would have one name in /licenses"),
        ({"target": "build"}, "the stage 'build' is what the image is compiled in"),
        ({"target": "Image"}, "target"),
        ({"build_args": {"BASE_IMAGE": "x"}}, "kmodsmith sets BASE_IMAGE itself"),
        ({"build_args": {"TARGETARCH": "x"}}, "kmodsmith sets TARGETARCH itself"),
        ({"build_args": {"lower": "x"}}, "build_args"),
        ({"labels": {"version": "x"}}, "kmodsmith sets version itself"),
        ({"labels": {"io.kmodsmith.cell.key": "x"}}, "kmodsmith sets io.kmodsmith.cell.key itself"),
        ({"labels": {"A": "x"}}, "labels"),
        ({"wheels": {"lock": "plugin/LICENSE", "python": "2.7"}}, "wheels.python"),
        ({"wheels": {"lock": "plugin/LICENSE", "python": 3.11}}, "wheels.python"),
        ({"wheels": {"python": "3.11"}}, "wheels"),
        ({"wheels": {"lock": "absent", "python": "3.11"}}, "wheels.lock: there is no file absent"),
        ({"source": "absent"}, "source: there is no folder absent"),
        ({"source": "plugin/LICENSE"}, "source: there is no folder plugin/LICENSE"),
        ({"containerfile": "plugin"}, "containerfile: there is no file plugin"),
        ({"licenses": ["absent"]}, "licenses[0]: there is no file absent"),
        ({"source": "../outside"}, "source"),
        ({"containerfile": "/etc/passwd"}, "containerfile"),
        ({"image": "localhost/kmodsmith/component"}, "are kmodsmith's own"),
        ({"image": "quay.test/org/plugin:1"}, "image"),
        ({"name": "Plugin"}, "name"),
        ({"version": "a b"}, "version"),
        ({"version": "1" * 80}, "version"),
        ({"vendor": ""}, "vendor"),
        ({"self_test": "python3"}, "self_test"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_mistakes(project_dir: Path, outside: Path, changes: dict[str, Any], words: str) -> None:
    assert outside.is_dir()
    write_component(project_dir, **changes)
    assert any(words in mistake for mistake in _mistakes(project_dir)), _mistakes(project_dir)


@pytest.mark.parametrize("key", ["vendor", "summary", "description", "maintainer", "source", "containerfile", "name"])
def test_what_must_be_said(project_dir: Path, key: str) -> None:
    write_component(project_dir)
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text().replace(f'"{key}":', f'"not_{key}":'))
    assert f"components[0]: {key!r} is required and missing" in _mistakes(project_dir)


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
    assert any(words in mistake for mistake in _mistakes(project_dir)), _mistakes(project_dir)


_PLUGIN = {"driver": "demo", "resource": "drivers.example.com/demo"}


@pytest.mark.parametrize("mode", ["DRA", "Auto"])
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"replicas": 2}, "replicas: only a device plugin shares devices: set mode to DevicePlugin, not"),
        ({"injection": "nodes"}, "injection: only a device plugin gives devices without CDI"),
        ({"managed_by": "kmm"}, "managed_by: what KMM runs is a device plugin"),
        ({"resource": f"{'a' * 60}.example/b"}, "resource: the driver's name, b.a"),
    ],
)
def test_what_only_a_device_plugin_can_is_refused_with_its_place(
    project_dir: Path, mode: str, more: dict[str, Any], words: str
) -> None:
    write_component(project_dir, device_plugin={**_PLUGIN, **more})
    assert _load(project_dir).components
    write_component(project_dir, device_plugin={**_PLUGIN, **more, "mode": mode})
    (mistake,) = _mistakes(project_dir)
    assert mistake.startswith(f"components[0].device_plugin: {words}")


def test_a_resource_whose_socket_the_kernel_would_not_take_is_refused(project_dir: Path) -> None:
    long = f"{'a' * 60}.exam/{'b' * 4}"
    write_component(project_dir, device_plugin={**_PLUGIN, "resource": long})
    assert _load(project_dir).components
    write_component(project_dir, device_plugin={**_PLUGIN, "resource": long, "replicas": 2})
    (mistake,) = _mistakes(project_dir)
    assert ".shared has 77 characters; kubelet's folder takes 70" in mistake


def test_kmm_runs_one_device_plugin_beside_a_driver(project_dir: Path) -> None:
    by_kmm = {**_PLUGIN, "managed_by": "kmm"}
    write_component(project_dir, {"name": "b", "device_plugin": _PLUGIN}, device_plugin=by_kmm)
    assert _load(project_dir).components
    write_component(project_dir, {"name": "b", "device_plugin": by_kmm}, device_plugin=by_kmm)
    (mistake,) = _mistakes(project_dir)
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
    (mistake,) = _mistakes(project_dir, untrusted=untrusted)
    assert mistake.startswith(f"components[0].{key}: {place} leads out of the project")
    assert _load(project_dir, outside=(outside,)).components


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
    (mistake,) = _mistakes(project_dir)
    assert f"plugin/{name}" in mistake


def test_packages_are_wanted_where_they_are_built_and_where_they_run(project_dir: Path) -> None:
    write_component(
        project_dir, {"name": "b", "arches": ["aarch64"], "packages": ["b", "a"]},
        packages=["python3.11"], build_packages=["gcc"], arches=["x86_64", "aarch64"],
    )  # fmt: skip
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text().replace('["b", "a"]', '["zz", "aa"]'))
    assert _load(project_dir).image_packages == {
        (Arch.X86_64, ("python3.11",)), (Arch.AARCH64, ("python3.11",)), (Arch.X86_64, ("gcc",)),
        (Arch.AARCH64, ("aa", "zz")),
    }  # fmt: skip
    write_component(project_dir)
    assert _load(project_dir).image_packages == set()


_OPERATOR = {"component": "plugin", "group": "drivers.example.com", "documentation": "https://example.com/d"}


def _write_operator(project: Path, said: dict[str, Any] | None = None, /, **changes: Any) -> None:
    write_component(project, **(said or {}))
    file = project / "versions.yaml"
    file.write_text(f"{file.read_text()}operator: {json.dumps({**_OPERATOR, **changes})}\n")


def test_an_operator_s_defaults(project_dir: Path) -> None:
    _write_operator(project_dir)
    operator = _load(project_dir).operator
    assert operator is not None
    assert (operator.kind, operator.plural_name, operator.name) == ("KernelDriver", "kerneldrivers", "kmod-operator")
    assert (operator.namespace_name, operator.drivers, operator.channel) == ("kmod-operator", (), "stable")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"component": "other"}, "operator.component: there is no component 'other'"),
        ({"drivers": ["dem"]}, "operator.drivers[0]: there is no driver 'dem'"),
        ({"drivers": ["demo", "demo"]}, "drivers names one twice"),
        ({"group": "example"}, "operator.group"),
        ({"group": "Drivers.example.com"}, "operator.group"),
        ({"group": f"{'a.' * 95}example"}, "operator.group"),
        ({"group": f"{'a' * 63}.{'b' * 63}.{'c' * 62}"}, "operator.group"),
        ({"kind": "kernelDriver"}, "operator.kind"),
        ({"kind": "K" * 60}, "operator.kind"),
        ({"plural": "kernel-drivers"}, "operator.plural"),
        ({"documentation": "docs/operator.md"}, "operator.documentation"),
        ({"documentation": "https://example.com/d#part"}, "operator.documentation"),
        ({"channel": "Stable"}, "operator.channel"),
        ({"pull_secret": "a_b"}, "operator.pull_secret"),
        ({"image": "quay.test/org/operator"}, "operator.image: is not a known key"),
    ],
)
def test_an_operator_that_cannot_be_is_told(project_dir: Path, changes: dict[str, Any], words: str) -> None:
    _write_operator(project_dir, **changes)
    assert any(words in mistake for mistake in _mistakes(project_dir)), _mistakes(project_dir)


@pytest.mark.parametrize(
    "version",
    [
        "1.0", "v1.0.0", "1.0.0+7", "20250329", "01.0.0", "1.0.0-RC1", "1.0.0-a..b", "1.0.0-01", "1.0.0-rc-.1", "1.0.0--1",
    ],
)  # fmt: skip
def test_a_version_of_the_operator_can_be_compared(project_dir: Path, version: str) -> None:
    _write_operator(project_dir, {"version": version})
    (mistake,) = _mistakes(project_dir)
    assert mistake.startswith(f"components[0].version: '{version}' is no version that Operator Lifecycle Manager")


@pytest.mark.parametrize("version", ["0.1.0", "1.4.0-rc.1", "1.4.0-0", "10.20.30-a-b.0x"])
def test_a_version_before_a_release_is_one(project_dir: Path, version: str) -> None:
    _write_operator(project_dir, {"version": version})
    assert _load(project_dir).components[0].version == version


def test_an_operator_changes_nothing_that_images_are_made_of(project_dir: Path) -> None:
    write_component(project_dir)
    before = _load(project_dir)
    _write_operator(project_dir)
    after = _load(project_dir)
    assert (before.drivers, before.components) == (after.drivers, after.components)
    assert read_component(before.components[0]).recipe_digest == read_component(after.components[0]).recipe_digest


_TEKTON = f"tekton:\n  builder: {_PIN}\n  repository: quay.test/org/plans\n  source: https://git.test/org/drivers.git\n"


def _with_tekton(project: Path, text: str = "") -> None:
    file = project / "versions.yaml"
    file.write_text(f"{file.read_text()}\n{_TEKTON}{text}")


def test_pipelines_have_defaults(project_dir: Path) -> None:
    _with_tekton(project_dir)
    settings = _load(project_dir).tekton
    assert settings is not None
    assert (settings.namespace_name, settings.shards, settings.isolation) == ("kmodsmith", 8, "user-namespaces")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("  group: nobody\n", "tekton.group: there is no group 'nobody'"),
        ("  release_group: nobody\n", "tekton.release_group: there is no group 'nobody'"),
        ("  shards: 65\n", "tekton.shards"),
        ("  shards: 0\n", "tekton.shards"),
        ("  arches: [x86_64, x86_64]\n", "arches names one twice"),
        ("  node_selectors: {aarch64: {a: b}}\n", "node_selectors: aarch64 is none of arches"),
        ("  node_selectors: {x86_64: {kubernetes.io/arch: amd64}}\n", "is what arches is about"),
        ("  schedule: daily\n", "tekton.schedule"),
        ('  schedule: "17 2 * *"\n', "tekton.schedule"),
        ('  schedule: "17 2 * * *\\n"\n', "tekton.schedule"),
        ("  time_zone: ../etc/passwd\n", "tekton.time_zone"),
        ("  project: ../elsewhere\n", "tekton.project"),
        ("  project: /root\n", "tekton.project"),
        ("  revision: --upload-pack=x\n", "tekton.revision"),
        ("  isolation: none\n", "tekton.isolation"),
        ("  resources: {memory: 4GB}\n", "tekton.resources.memory"),
        ("  minutes: {shard: 1}\n", "tekton.minutes.shard"),
        ("  minutes: {shards: 1}\n", "tekton.minutes.shards"),
        ("  resources: {disc: 4Gi}\n", "tekton.resources.disc"),
        ("  name: a-name-that-is-too-long-for-its-objects\n", "tekton.name"),
        ("  nightly: true\n", "tekton.nightly"),
    ],
)
def test_what_is_wrong_with_pipelines_is_told(project_dir: Path, text: str, mistake: str) -> None:
    _with_tekton(project_dir, text)
    assert mistake in "; ".join(_mistakes(project_dir))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("builder", "quay.test/org/builder:latest"),
        ("repository", "quay.test/org/plans:tag"),
        ("source", "https://me:secret@git.test/org/drivers.git"),
        ("source", "https:///org"),
        ("source", "ext::sh -c id"),
        ("source", "https://git.test/$(params.x)"),
        ("source", "file:///etc"),
    ],
)
def test_addresses_of_pipelines_are_whole_and_without_secrets(project_dir: Path, key: str, value: str) -> None:
    _with_tekton(project_dir)
    file = project_dir / "versions.yaml"
    lines = [
        f"  {key}: '{value}'" if line.startswith(f"  {key}: ") and line in _TEKTON.splitlines() else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines) + "\n")
    told = _mistakes(project_dir)
    assert [sentence for sentence in told if sentence.startswith(f"tekton.{key}")], told
    assert "secret" not in "; ".join(told) or "me:" not in "; ".join(told)
