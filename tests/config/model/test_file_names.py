"""Names of files: those that none can have, and those that shells would read otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.project import VERSIONS_YAML
from fakes.versions_yaml import find_mistakes_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("modules: [demo]", "modules: [demo]\n    firmware: ['a b']", "holds a space"),
    ],
)
def test_names_the_place_and_the_remedy(project_dir: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, VERSIONS_YAML.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("source", "a" * 300),
        ("source", "a/" * 3000 + "x"),
        ("dkms", "d" * 5000),
        ("containerfile", "é" * 200),
        ("dkms", '"a\\0b"'),
    ],
)
def test_names_that_no_file_can_have(project_dir: Path, key: str, name: str) -> None:
    text = VERSIONS_YAML.replace(
        "    source: src\n", f"    {key}: {name}\n" + ("" if key == "source" else "    source: src\n")
    )
    assert any("is no name that a file can have" in mistake for mistake in find_mistakes_in(project_dir, text))
