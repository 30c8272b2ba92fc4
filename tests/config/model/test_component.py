"""Component images: what is refused, and what follows from what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.components import write_component
from fakes.versions_yaml import find_mistakes, load

from builder.kernel import Arch

if TYPE_CHECKING:
    from pathlib import Path

_PIN = f"quay.test/org/base@sha256:{'a' * 64}"


def test_defaults(project_dir: Path) -> None:
    write_component(project_dir)
    (component,) = load(project_dir).components
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
def test_mistakes(project_dir: Path, changes: dict[str, Any], words: str) -> None:
    write_component(project_dir, **changes)
    assert any(words in mistake for mistake in find_mistakes(project_dir)), find_mistakes(project_dir)


@pytest.mark.parametrize("key", ["vendor", "summary", "description", "maintainer", "source", "containerfile", "name"])
def test_what_must_be_said(project_dir: Path, key: str) -> None:
    write_component(project_dir)
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text().replace(f'"{key}":', f'"not_{key}":'))
    assert f"components[0]: {key!r} is required and missing" in find_mistakes(project_dir)
