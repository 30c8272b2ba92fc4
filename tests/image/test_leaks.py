"""Keys and passwords in files: what is certainly one is found, what only speaks of one is not."""

from __future__ import annotations

import pytest

from builder.image.leaks import Leak, find_leaks, find_setting_leaks


def test_programs_that_read_keys_are_no_keys() -> None:
    words = b"\0-----BEGIN PRIVATE KEY-----\0-----END PRIVATE KEY-----\0"
    assert find_leaks(words, "usr/lib/libcrypto.so") == []


@pytest.mark.parametrize(
    "unit",
    [
        b'"auths"',
        b'"auths": {"a": {',
        b"-----BEGIN ",
        b"-----BEGIN A PRIVATE KEY-----\n",
        b"\x30\x82\0\0\2\1\0\2\x82\0\0",
        b"AKIAABCDEFGHIJKLMNOP",
    ],
)
def test_no_file_makes_the_search_for_secrets_crawl(unit: bytes) -> None:
    assert find_leaks(unit * ((1 << 20) // len(unit)), "x") == []


_PEM = b"-----BEGIN EC PRIVATE KEY-----\n" + b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n" * 3


@pytest.mark.parametrize(
    ("content", "path", "kind"),
    [
        (_PEM, "a", "ec private key"),
        (_PEM.replace(b"\n", b"\\n"), "a.json", "ec private key"),
        (b"x" + bytes.fromhex("302e020100300506032b6570"), "a", "private key (PKCS#8)"),
        (b'{"auths": {"quay.io": {"auth": "dXNlcjpw"}}}', "a", "registry-credentials"),
        (b"token=ghp_" + b"a" * 36, "a", "access-token"),
        (b"x", "home/.netrc", "file for credentials"),
    ],
)
def test_what_is_certainly_a_secret_is_found(content: bytes, path: str, kind: str) -> None:
    assert find_leaks(content, path) == [Leak(path, kind)]


def test_settings_that_hold_secrets_are_named_without_them() -> None:
    found = find_setting_leaks(["PATH=/bin", "DB_PASSWORD=sesame", "API_KEY=", "TOKENS", "registry_token=x"])
    assert [leak.path for leak in found] == ["DB_PASSWORD", "registry_token"]
