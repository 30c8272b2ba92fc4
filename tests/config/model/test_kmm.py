"""What KMM is told of a driver, and would not take."""

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
        ("driver", "kmm: {tolerations: [{value: x}]}", "key is required, unless operator is Exists"),
        ("driver", "kmm: {tolerations: [{key: 'a b', value: x}]}", "tolerations[0].key: 'a b' cannot be the key of a label"),
        ("driver", "kmm: {tolerations: [{key: a, value: 'x y'}]}", "tolerations[0].value: 'x y' does not have the right form"),
        ("driver", "kmm: {tolerations: [{operator: Exists, value: x}]}", "value says nothing where operator is Exists"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = find_mistakes_in(project_dir, with_line(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("driver", "kmm: {tolerations: [{operator: Exists}]}"),
        ("driver", "kmm: {tolerations: [{key: example.com/gpu, value: a_b.c, effect: NoSchedule}]}"),
    ],
)
def test_what_works_is_taken(project_dir: Path, place: str, line: str) -> None:
    load(project_dir, with_line(place, line))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "maintainer: M",
            "maintainer: M\n    kmm: {loading_order: [demo]}",
            "loading_order needs at least two modules, each once",
        ),
        (
            "maintainer: M",
            "maintainer: M\n    kmm: {module: demo, loading_order: [demo, x]}",
            "loading_order must end with module (demo)",
        ),
        (
            "maintainer: M",
            "maintainer: M\n    kmm: {in_cluster_build: {source: x}}",
            "drivers[0].kmm.in_cluster_build.source: 'x' does not have the right form",
        ),
    ],
)
def test_names_the_place_and_the_remedy(project_dir: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, VERSIONS_YAML.replace(old, new, 1)))
