"""Names of images: what no registry, and what not this one, would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.project import VERSIONS_YAML
from fakes.versions_yaml import find_mistakes_in, load, with_line

if TYPE_CHECKING:
    from pathlib import Path

_DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("place", "line", "expected"),
    [
        ("driver", "image: repo:latest", "'repo:latest' cannot name an image: it names no registry and its tag comes from publish.tags; write 'localhost/repo' for this machine's store, or 'quay.io/organisation/repo'"),
        ("driver", "image: demo", "it names no registry; write 'localhost/demo' for this machine's store"),
        ("driver", "image: org/demo", "it names no registry; write 'localhost/demo'"),
        ("driver", "image: quay.io/org/demo:1", "its tag comes from publish.tags; write 'quay.io/org/demo'"),
        ("driver", f"image: quay.io/org/demo@{_DIGEST}", "its tag comes from publish.tags; write 'quay.io/org/demo'"),
        ("driver", "image: Quay.io/Org/demo", "it must be in small letters; write 'quay.io/org/demo'"),
        ("driver", "image: quay.io:99999/org/demo", "99999 is no port"),
        ("driver", "image: 'quay.io/org//demo-'", "is not the name of an image"),
        ("driver", "image: quay.io", "it names no registry"),
        ("driver", "image: localhost/kmodsmith/cell", "are kmodsmith's own, and prune removes them"),
        ("driver", f"base_image: ubi9@{_DIGEST}", "is not a full image name"),
        ("driver", f"base_image: library/debian@{_DIGEST}", "it names no registry"),
        ("driver", f"base_image: https://quay.io/x@{_DIGEST}", "is not a full image name"),
        ("ocp", "releases: ['ocp-release/x:4.18']", "it names no registry"),
        ("end", "registry: {mirrors: [{source: quay, mirrors: [m.test]}]}", "must begin with a registry's host"),
        ("end", "registry: {mirrors: [{source: quay.io/a//.., mirrors: [m.test]}]}", "does not have the right form"),
        ("end", "registry: {mirrors: [{source: Quay.io, mirrors: [m.test]}]}", "would never be found: write quay.io"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = find_mistakes_in(project_dir, with_line(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("driver", "image: localhost/demo"),
        ("driver", "image: localhost:5000/demo"),
        ("driver", "image: registry.site.example:8443/a/b_c/d-e"),
        ("driver", f"base_image: quay.io/org/base:9@{_DIGEST}"),
        ("driver", f"base_image: localhost/base@{_DIGEST}"),
        ("end", "registry: {mirrors: [{source: quay.io/org, mirrors: ['m.test:5000', 'm.test/a_b']}]}"),
    ],
)
def test_what_works_is_taken(project_dir: Path, place: str, line: str) -> None:
    load(project_dir, with_line(place, line))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "modules: [demo]",
            "modules: [demo]\n    base_image: ubi:9",
            "drivers[0].base_image: 'ubi:9' does not have the right form",
        ),
    ],
)
def test_names_the_place_and_the_remedy(project_dir: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, VERSIONS_YAML.replace(old, new, 1)))
