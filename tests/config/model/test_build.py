"""How cells are built: numbers and bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.project import VERSIONS_YAML
from fakes.versions_yaml import find_mistakes_in, with_line

from builder.config.model.build import BuildSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("place", "line", "expected"),
    [
        ("end", "build: {timeout_minutes: 99999999999999999999}", "must be at most 10080"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = find_mistakes_in(project_dir, with_line(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "default_group: few",
            "default_group: few\nbuild: {jobs: 0}",
            "must be auto or a number of at least 1, not 0",
        ),
    ],
)
def test_names_the_place_and_the_remedy(project_dir: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, VERSIONS_YAML.replace(old, new, 1)))


def test_limits_are_those_of_the_file_unless_it_may_have_no_more() -> None:
    wished = BuildSettings(compile_memory=9000, compile_processes=100)
    assert (wished.limits().memory_bytes, wished.limits().processes) == (9000 * 2**20, 100)
    default = BuildSettings()
    bounded = wished.limits(most=default)
    assert (bounded.memory_bytes, bounded.processes) == (default.compile_memory * 2**20, 100)
