"""Patterns of kernels, as KMM reads them."""

from __future__ import annotations

import pytest

from builder.config.regexp import compile_regexp
from builder.errors import FormatError


@pytest.mark.parametrize("pattern", ["(?=5)", r"(a)\1", "(", "a{1001}"])
def test_what_go_does_not_take_is_refused(pattern: str) -> None:
    with pytest.raises(FormatError, match="RE2 does not take"):
        compile_regexp(pattern)
