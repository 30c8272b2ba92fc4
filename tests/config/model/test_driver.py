"""Drivers: what excludes each other, and what kmodsmith says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.project import VERSIONS_YAML
from fakes.versions_yaml import find_mistakes_in, with_line

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("place", "line", "expected"),
    [
        ("driver", "reuse: [{kernel: 'x', compiled_for: '6.1', reason: r}]", "'6.1' is not a kernel version"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = find_mistakes_in(project_dir, with_line(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("modules: [demo]", "modules: [demo, demo]", "modules names a module twice"),
        ("modules: [demo]", "modules: [demo, '?demo']", "modules names a module twice"),
        ("modules: [demo]", "make: make", "modules is required"),
        (
            "modules: [demo]",
            "modules: [demo]\n    licenses: [LICENSE, parts/LICENSE]",
            "licenses has two files that would have one name in /licenses",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    firmware: [firmware/demo.bin, demo.bin]",
            "firmware has two files that would have one name in /firmware",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    make: m\n    dkms: d",
            "give either make or dkms, not both",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    build_args: {DTK_AUTO: x}",
            "kmodsmith sets DTK_AUTO itself",
        ),
    ],
)
def test_names_the_place_and_the_remedy(project_dir: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, VERSIONS_YAML.replace(old, new, 1)))
