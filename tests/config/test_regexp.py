"""Patterns of kernels, as KMM reads them."""

from __future__ import annotations

import pytest

from builder.config.regexp import compile_regexp, matches
from builder.errors import FormatError


@pytest.mark.parametrize("pattern", ["(?=5)", r"(a)\1", "(", "a{1001}"])
def test_what_go_does_not_take_is_refused(pattern: str) -> None:
    with pytest.raises(FormatError, match="RE2 does not take"):
        compile_regexp(pattern)


@pytest.mark.parametrize(
    ("pattern", "kernel", "fits"),
    [
        ("el9_4", "5.14.0-427.el9_4.x86_64", True),  # searched, not compared whole
        ("^el9_4$", "5.14.0-427.el9_4.x86_64", False),
        (r"^5\.14\.0-427\.(6|7).+$", "5.14.0-427.68.1.el9_4.x86_64", True),
        (r"\+rt$", "5.14.0-427.68.1.el9_4.x86_64+rt", True),
        (r"(?i)EL9", "5.14.0-427.el9_4.x86_64", True),
    ],
)
def test_patterns_are_those_of_go(pattern: str, kernel: str, fits: bool) -> None:
    assert matches(pattern, kernel) is fits
