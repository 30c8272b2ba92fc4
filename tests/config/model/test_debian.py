"""Kernels of Debian's archive: addresses that are none, and machines that none are made for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.versions_yaml import find_mistakes_in, load, with_line

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("place", "line", "expected"),
    [
        ("debian", "archives: [{url: 'http://u:p@deb.test/debian', suites: [s]}]", "a password does not belong"),
        ("debian", "archives: [{url: 'http://[deb.test/debian', suites: [s]}]", "is not an address"),
        ("debian", "archives: [{url: 'http://deb.test:0x50/debian', suites: [s]}]", "is not an address"),
        ("debian", "archives: [{url: 'http://deb.test/debian?x', suites: [s]}]", "must not have a query"),
        ("debian", "archives: [{url: 'http://deb.test/debian', suites: [stable/]}]", "does not have the right form"),
        ("debian", "build_arches: [ppc64le]", "are made for machines that are x86_64 or aarch64, not ppc64le"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = find_mistakes_in(project_dir, with_line(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("debian", "archives: [{url: 'http://mirror.test:8080/my_debian~x', suites: [bookworm/updates]}]"),
    ],
)
def test_what_works_is_taken(project_dir: Path, place: str, line: str) -> None:
    load(project_dir, with_line(place, line))
