"""Mistakes in the sources of versions.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fakes.site import Site


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
