"""Names of images in registries, and who signs them."""

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
        (
            "default_group: few",
            "default_group: few\npublish: {tags: [version]}",
            "would be the same tag for every image",
        ),
        (
            "default_group: few",
            "default_group: few\npublish: {tags: ['{version}-{kernel_noarch}']}",
            "the first must hold {kernel}",
        ),
        (
            "default_group: few",
            "default_group: few\npublish: {tags: [version-kernel, '{version}-{release}']}",
            "a kernel without its architecture is {kernel_noarch}",
        ),
        ("default_group: few", "default_group: few\npublish: {tags: ['{kernel} x']}", "gives no tag"),
        ("default_group: few", "default_group: few\npublish: {tags: ['{kernel']}", "is no pattern of a tag"),
        (
            "default_group: few",
            "default_group: few\npublish: {builder: laptop}",
            "publish.builder: 'laptop' does not have the right form",
        ),
    ],
)
def test_names_the_place_and_the_remedy(project_dir: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, VERSIONS_YAML.replace(old, new, 1)))
