"""Versions of KMM, in their order."""

from __future__ import annotations

from builder.emit.kmm.version import KmmVersion


def test_what_came_with_a_version_is_there_from_it_on() -> None:
    assert [version.has("2.6") for version in KmmVersion] == [False, True, True]
    assert KmmVersion.V2_7.has("2.10") is False, "numbers are no texts"
