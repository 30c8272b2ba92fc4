"""Full names of images."""

from __future__ import annotations

import pytest

from builder.errors import FormatError
from builder.pullspec import Pullspec, parse_pullspec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quay.io/org/a/b@sha256:" + "0" * 64, ("quay.io", "org/a/b", "sha256:" + "0" * 64)),
        ("Registry.Test:5000/a:v1.2", ("registry.test:5000", "a", "v1.2")),
        ("quay.io/a:tag@sha256:" + "1" * 64, ("quay.io", "a", "sha256:" + "1" * 64)),
    ],
)
def test_pullspecs(text: str, expected: tuple[str, str, str]) -> None:
    assert parse_pullspec(text) == Pullspec(*expected)


@pytest.mark.parametrize(
    "text", ["", "name", "quay.io/a", "quay.io/A:1", "quay.io/a@sha256:12", "http://quay.io/a:1", "q/a:1\n"]
)
def test_what_is_no_pullspec(text: str) -> None:
    with pytest.raises(FormatError, match="not a full image name"):
        parse_pullspec(text)
