"""Public keys that images are verified with: only kinds that everybody takes."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from builder.errors import FormatError
from builder.signing.public_key import PublicKey, parse_public_key

_EC, _RSA = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _public(key: Any, encoding: serialization.Encoding = serialization.Encoding.PEM) -> PublicKey:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return parse_public_key(key.public_key().public_bytes(encoding, form))


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        (_EC, _EC.sign(b"x", ec.ECDSA(hashes.SHA256()))),
        (_RSA, _RSA.sign(b"x", padding.PKCS1v15(), hashes.SHA256())),
    ],
    ids=["ec", "rsa"],  # made anew by each worker, who must call the same tests by the same names
)
def test_a_signature_is_accepted_of_its_key_over_its_content(key: Any, signature: bytes) -> None:
    assert _public(key).accepts(signature, b"x")
    assert not _public(key).accepts(signature, b"y")
    assert not _public(key).accepts(b"0" * len(signature), b"x")
    assert not _public(key).accepts(b"", b"x")
    assert not _public(_RSA if key is _EC else _EC).accepts(signature, b"x")


def test_a_key_is_the_same_in_either_form() -> None:
    key = _public(_EC, serialization.Encoding.DER)
    assert (key.fingerprint, key.pem) == (_public(_EC).fingerprint, _public(_EC).pem)
    assert parse_public_key(key.pem.encode()).der == key.der
    assert base64.b64decode(key.hint).hex() == key.fingerprint == hashlib.sha256(key.der).hexdigest()


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "its curve is secp384r1"),
        (ed25519.Ed25519PrivateKey.generate(), "neither an ECDSA nor an RSA key"),
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), "RSA key of 1024 bits"),
    ],
)
def test_keys_that_not_everybody_takes_are_refused(key: Any, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        _public(key)


def test_a_private_key_in_place_of_a_public_one_is_told() -> None:
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with pytest.raises(FormatError, match="it holds a private key"):
        parse_public_key(_EC.private_bytes(serialization.Encoding.PEM, form, encryption))


@pytest.mark.parametrize("content", [b"", b"rubbish", b"-----BEGIN PUBLIC KEY-----\n", b"-----BEGIN"])
def test_what_is_no_key_is_told(content: bytes) -> None:
    with pytest.raises(FormatError, match="it is no public key"):
        parse_public_key(content)
