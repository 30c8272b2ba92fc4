"""Kernels of OpenShift: where its graph is, and what a source of it must say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.versions_yaml import find_mistakes_in, load, with_line

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.site import Site


@pytest.mark.parametrize(
    ("place", "line", "expected"),
    [
        ("ocp", "channels: [fast-4.18], graph: 'ftp://x/graph'", "is neither an address that begins with http"),
        ("ocp", "channels: [fast-4.18], graph: '{chanel}.json'", "has the unknown field {chanel}"),
        ("ocp", "channels: [fast-4.18], graph: '{channel[0]}'", "has the unknown field {channel[0]}"),
        ("ocp", "channels: [fast-4.18], graph: '{0}'", "has the unknown field {0}"),
        ("ocp", "channels: [fast-4.18], graph: 'https://x/{channel}'", "an address is asked with channel and arch"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = find_mistakes_in(project_dir, with_line(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("ocp", "channels: [fast-4.18], graph: 'graphs/{channel}_{arch}.json'"),
    ],
)
def test_what_works_is_taken(project_dir: Path, place: str, line: str) -> None:
    load(project_dir, with_line(place, line))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"provider": "openshift"}, "give channels, such as [fast-4.18], or releases"),
        ({"provider": "openshfit", "channels": ["a"]}, "'openshfit' is not allowed: did you mean 'openshift'?"),
        ({"channels": ["fast-4.17"]}, "'provider' is required and missing"),
        ({"provider": "okd", "channels": ["fast_4.17"]}, "does not have the right form"),
        ({"provider": "okd", "chanels": ["fast-4.17"]}, "is not a known key: did you mean 'channels'?"),
        ({"provider": "okd", "releases": ["quay.io/okd/scos-release"]}, "is not a full image name"),
        ({"provider": "okd", "channels": ["a"], "arches": ["amd64"]}, "'amd64' is not allowed"),
        ({"provider": "okd", "channels": ["a"], "end_of_life": {"4.14": "soon"}}, "must be a date"),
        ({"provider": "okd", "channels": ["a"], "end_of_life": {"four": "2025-10-31"}}, "does not have the right form"),
        ({"provider": "okd", "channels": ["a"], "runtime": "ocp"}, "there is no source with base images 'ocp'"),
        ({"provider": "okd", "channels": ["a"], "drop": [{"release": "4.*"}]}, "'reason' is required and missing"),
    ],
)
def test_mistakes_in_a_source_are_named(site: Site, source: dict[str, Any], words: str) -> None:
    site.edit(sources={"debian": {"provider": "debian"}, "ocp": source})
    code, _, err = site.run("plan")
    assert (code, words in " ".join(err.split())) == (3, True), err
