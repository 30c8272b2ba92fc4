"""The process that holds a key: what it signs, and which keys it refuses."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from fakes.key_holder import ask_holder, write_key
from fakes.signers import certify

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_the_key_holder_signs(kind: str, tmp_path: Path) -> None:
    file = write_key(tmp_path / "key", kind, b"pass word")
    secret = tmp_path / "passphrase"
    secret.write_text("pass word\n")
    secret.chmod(0o600)
    digest = hashlib.sha256(b"x").digest()
    for way_to_it in ({"passphrase": "pass word"}, {"passphrase_file": str(secret)}):
        ready, answer = ask_holder("key_file", str(file), digest, **way_to_it)
        assert ready == {"ready": "yes"}
        assert certify(kind).accepts(bytes.fromhex(answer["signature"]), digest, "sha256")


@pytest.mark.parametrize(
    ("code", "kind", "options", "passphrase"),
    [
        ("key-readable-by-others", "rsa", {"mode": 0o640}, None),
        ("key-readable-by-others", "rsa", {"mode": 0o604}, None),
        ("passphrase-missing", "rsa", {"passphrase": b"x"}, None),
        ("passphrase-wrong", "rsa", {"passphrase": b"x"}, "y"),
        ("passphrase-wrong", "rsa", {}, "y"),
    ],
)
def test_keys_that_are_refused(
    code: str, kind: str, options: dict[str, Any], passphrase: str | None, tmp_path: Path
) -> None:
    file = write_key(tmp_path / "key", kind, **options)
    (answer,) = ask_holder("key_file", str(file), passphrase=passphrase)
    assert answer["error"] == code


@pytest.mark.parametrize(
    ("code", "way", "place"),
    [
        ("key-unreadable", "key_file", "/nowhere/key"),
        ("key-unreadable", "pkcs11", "pkcs11:object=x"),
        ("token-unreachable", "pkcs11", "pkcs11:object=x?module-path=/nowhere/lib.so"),
    ],
)
def test_keys_that_are_not_there(code: str, way: str, place: str) -> None:
    (answer,) = ask_holder(way, place)
    assert answer["error"] == code
