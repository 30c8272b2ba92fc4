"""Names of drivers, modules and labels, and versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.project import VERSIONS_YAML
from fakes.versions_yaml import find_mistakes_in, load, with_line

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("place", "line", "expected"),
    [
        ("driver", "kmm: {selector: {'a b': x}}", "cannot be the key of a label"),
        ("driver", "kmm: {selector: {a: 'b c'}}", "does not have the right form"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = find_mistakes_in(project_dir, with_line(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("driver", "kmm: {selector: {node-role.kubernetes.io/worker: '', a.b_c: d}}"),
    ],
)
def test_what_works_is_taken(project_dir: Path, place: str, line: str) -> None:
    load(project_dir, with_line(place, line))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: demo", "name: Demo.X", "2: drivers[0].name: 'Demo.X' does not have the right form"),
        ("version: 1.2.0", "version: 1.2 final", "3: drivers[0].version: '1.2 final' cannot stand in tags"),
        ("version: 1.2.0", f"version: 1.{'a' * 62}", "cannot stand in tags, labels and file names: up to 63"),
        ("version: 1.2.0", "version: 1.2.0+", "a letter or digit first and last"),
        ("modules: [demo]", "modules: ['demo?']", "does not have the right form"),
        ("modules: [demo]", "modules: [demo.ko]", "does not have the right form"),
    ],
)
def test_names_the_place_and_the_remedy(project_dir: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, VERSIONS_YAML.replace(old, new, 1)))


@pytest.mark.parametrize(
    "version", ["'0.43'", "'11'", "10.5.3.5", "20250329T1", "v5", "0+git20250605+6.6.0-95.0.0", "1~rc1"]
)
def test_a_version_is_what_its_vendor_writes(project_dir: Path, version: str) -> None:
    text = VERSIONS_YAML.replace("version: 1.2.0", f"version: {version}", 1)
    assert load(project_dir, text).drivers[0].version == version.strip("'")
