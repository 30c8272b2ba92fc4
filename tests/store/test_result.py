"""The paths that a result may hold."""

from __future__ import annotations

import pytest
from fakes.results import refusal_of

from builder.store.result import File, Folder, Link, make_result


@pytest.mark.parametrize(
    "path", ["/etc/x", "../x", "a/../../x", "a//b", "", "a/.", "a\0b", "x" * 2000, "a/" * 50 + "b"]
)
def test_paths_that_lead_out_are_refused(path: str) -> None:
    assert refusal_of(lambda: make_result([(path, File(b""))])) == "result-name"


@pytest.mark.parametrize(
    "entries",
    [
        [("a", File(b"")), ("a", File(b""))],
        [("a", File(b"")), ("a/b", File(b""))],
        [("a", Link("b")), ("b", Folder()), ("a/c", File(b""))],
    ],
)
def test_two_things_at_one_path_are_refused(entries: list[tuple[str, File]]) -> None:
    assert refusal_of(lambda: make_result(entries)) == "result-twice"
