"""Digests, and the identities that are derived from plain values."""

from __future__ import annotations

import pytest

from builder.digest import content_id, is_digest, sha256_of


def test_digests_are_those_of_registries() -> None:
    assert sha256_of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha256:",
        "a" * 64,
        f"sha256:{'a' * 63}",
        f"sha256:{'A' * 64}",
        f"sha256:{'a' * 64}\n",
        f"sha512:{'a' * 64}",
        "sha256:../x",
        None,
        1,
        ["x"],
        b"sha256:",
    ],
)
def test_what_is_spelled_otherwise_is_no_digest(value: object) -> None:
    assert is_digest(sha256_of(b""))
    assert not is_digest(value)


def test_identities_are_the_same_on_every_machine() -> None:
    """Another way to write them down would build every cell of everybody again."""
    assert content_id("a", 1, {"b": None, "a": [True]}) == content_id("a", 1, {"a": [True], "b": None})
    assert content_id("cell", {"k": "v"}) == "79f1586596dad0592b4a6263851258c08ce8b128c31751f40b0cbfba0146bba6"


def test_identities_tell_what_is_not_equal() -> None:
    values = [("a",), ("a", ""), ("", "a"), ("a", 1), ("a", "1"), ({"a": 1},), ((),), ()]
    assert len({content_id(*parts) for parts in values}) == len(values)
