"""Keys and passwords in files: what is certainly one is found, what only speaks of one is not."""

from __future__ import annotations

import hashlib

import pytest

from builder.image import leaks
from builder.image.leaks import OVERLAP, Leak, find_leaks, find_setting_leaks


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


_WHOLE = _PEM + b"-----END EC PRIVATE KEY-----\n"


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of these tests is one that everybody has."""
    body = b"".join(_PEM.partition(b"KEY-----")[2].split())
    monkeypatch.setattr(leaks, "_PUBLISHED", frozenset({hashlib.sha256(body).hexdigest()}))


@pytest.mark.usefixtures("published")
def test_a_key_that_everybody_has_is_no_secret_and_any_other_is() -> None:
    assert find_leaks(b"\x7fELF" + _WHOLE + b"\0", "usr/lib/libtls.so.30") == []
    changed = _WHOLE.replace(b"MIIEvQ", b"MIIEvR", 1)
    for content in (
        changed,
        _WHOLE + changed,
        changed + _WHOLE,
        _PEM,
        _WHOLE.replace(b"7\n-----END", b"7\nAAAA\n-----END"),
    ):
        assert find_leaks(content, "a") == [Leak("a", "ec private key")]


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("cut", range(0, len(_WHOLE) + 1, 7))
def test_a_key_in_two_parts_is_judged_when_it_is_whole(cut: int) -> None:
    """As a large file is read: a part, then the end of it with the next."""

    def look(key: bytes) -> list[Leak]:
        first = b"x" * (3 * OVERLAP) + key[:cut]
        return find_leaks(first, "a", more=True) + find_leaks(first[-OVERLAP:] + key[cut:] + b"y" * OVERLAP, "a")

    assert look(_WHOLE) == []
    assert set(look(_WHOLE.replace(b"MIIEvQ", b"MIIEvR", 1))) == {Leak("a", "ec private key")}
    assert set(look(_PEM)) == {Leak("a", "ec private key")}, "without an end it never becomes whole"


def test_headers_without_an_end_are_counted_once_each() -> None:
    assert find_leaks(_PEM * (3 * (1 << 20) // len(_PEM)), "a") == [Leak("a", "ec private key")]


def test_settings_that_hold_secrets_are_named_without_them() -> None:
    found = find_setting_leaks(["PATH=/bin", "DB_PASSWORD=sesame", "API_KEY=", "TOKENS", "registry_token=x"])
    assert [leak.path for leak in found] == ["DB_PASSWORD", "registry_token"]
