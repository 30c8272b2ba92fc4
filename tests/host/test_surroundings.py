"""What outside of the driver made a tool fail; every recorded log is judged in tests/evidence/test_compile_log.py."""

from __future__ import annotations

import pytest

from builder.host.surroundings import find_surroundings, meaningful_lines, shorten


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("demo.c:1:1: error: x\nas: No space left on device\n", "disk-full"),
        ("Error: x: image not known\n", "toolkit-image-missing"),
        ("Error: database is locked\nError: x: image not known\n", "storage-error"),  # the stronger one counts
    ],
)
def test_the_strongest_blame_counts_wherever_it_stands(text: str, code: str) -> None:
    found = find_surroundings(text)
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize("text", ["", "demo.c:1:1: error: too few arguments\n", "curl: could not resolve host: x\n"])
def test_what_the_driver_did_itself_is_no_blame_of_its_surroundings(text: str) -> None:
    assert find_surroundings(text) is None


def test_lines_that_mean_something() -> None:
    text = (
        "STEP 3/9: RUN make\n  CC [M]  demo.o\n\x1b[1mdemo.c:1: \x1b[31merror\x1b[0m\n"
        'Error: building at STEP "RUN no space left on device": exit status 2\n'
    )
    assert list(meaningful_lines(text)) == ["demo.c:1: error"]


def test_a_long_line_keeps_both_ends() -> None:
    line = f"a.c:1: error: {'x' * 900} reason"
    assert shorten(line) == line, "whole: in the middle may be what it is about"
    assert shorten("a" * 2000) == f"{'a' * 1000} …"
