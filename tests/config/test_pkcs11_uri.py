"""PKCS#11 URIs (RFC 7512) of private keys."""

from __future__ import annotations

import pytest

from builder.config.pkcs11_uri import parse_pkcs11_uri
from builder.errors import SignerError


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("pkcs11:token=a;object=b", "which PKCS#11 library"),
        ("pkcs11:token=a?module-path=/x", "names no key"),
        ("pkcs11:object=a;colour=red?module-path=/x", "'colour' is not one of"),
        ("pkcs11:object=a;type=cert?module-path=/x", "private key"),
        ("pkcs11:object=a?module-path=/x&pin-value=1234", "'pin-value' is not one of"),
    ],
)
def test_wrong_uris(uri: str, words: str) -> None:
    with pytest.raises(SignerError, match=words) as caught:
        parse_pkcs11_uri(uri)
    assert "1234" not in caught.value.message


def test_a_uri() -> None:
    uri = parse_pkcs11_uri(
        "pkcs11:token=My%20Token;id=%01%02;type=private?module-path=/usr/lib/x.so&pin-source=file:/run/pin"
    )
    assert (uri.token, uri.id, uri.module_path, uri.pin_source, uri.object) == (
        "My Token",
        b"\1\2",
        "/usr/lib/x.so",
        "/run/pin",
        None,
    )
