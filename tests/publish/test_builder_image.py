"""The image that kmodsmith runs in."""

from __future__ import annotations

import pytest

from builder.errors import UsageError
from builder.publish.builder_image import VARIABLE, find_builder_image

_DIGEST = "b" * 64


def test_an_image_by_digest_is_told() -> None:
    (found,) = find_builder_image({VARIABLE: f"quay.test/org/builder@sha256:{_DIGEST}"})
    assert (found.name, found.sha256) == ("builder", _DIGEST)
    assert found.uri == f"docker://quay.test/org/builder@sha256:{_DIGEST}"


def test_who_runs_in_none_says_nothing() -> None:
    assert find_builder_image({}) == find_builder_image({VARIABLE: ""}) == ()


@pytest.mark.parametrize("said", ["quay.test/org/builder:1", "x", "quay.test/a@sha256:12"])
def test_what_is_no_digest_is_not_attested(said: str) -> None:
    with pytest.raises(UsageError, match="no image by digest"):
        find_builder_image({VARIABLE: said})
