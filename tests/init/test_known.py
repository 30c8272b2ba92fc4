"""What is noted while a draft is made."""

from __future__ import annotations

import pytest

from builder.init.known import file_stem, list_words


def test_long_lists_are_cut_and_say_so() -> None:
    assert list_words(["a", "b"]) == "[a, b]"
    assert list_words(str(number) for number in range(10)) == "[0, 1, 2, 3, 4, 5, 6, 7, and 2 more]"


@pytest.mark.parametrize(("path", "stem"), [("src/hid-a.c", "hid_a"), ("b.c", "b")])
def test_stems_are_spelled_as_modules(path: str, stem: str) -> None:
    assert file_stem(path) == stem
