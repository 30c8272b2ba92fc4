"""Digests, and the identities that are derived from plain values."""

from __future__ import annotations

from builder.digest import content_id, sha256_of


def test_digests_are_those_of_registries() -> None:
    assert sha256_of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_identities_are_the_same_on_every_machine() -> None:
    """Another way to write them down would build every cell of everybody again."""
    assert content_id("a", 1, {"b": None, "a": [True]}) == content_id("a", 1, {"a": [True], "b": None})
    assert content_id("cell", {"k": "v"}) == "79f1586596dad0592b4a6263851258c08ce8b128c31751f40b0cbfba0146bba6"


def test_identities_tell_what_is_not_equal() -> None:
    values = [("a",), ("a", ""), ("", "a"), ("a", 1), ("a", "1"), ({"a": 1},), ((),), ()]
    assert len({content_id(*parts) for parts in values}) == len(values)
