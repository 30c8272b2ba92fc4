"""The vendor's public keys: ECDSA on P-256 and RSA, as images are signed with. Pure.

The only module here that knows of ``cryptography``, which only the operator loads: it takes memory on every node else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

if TYPE_CHECKING:
    from collections.abc import Sequence

_SMALLEST_RSA, _LARGEST_RSA = 2048, 16384
_LARGEST_PEM = 64 * 1024


class KeyProblem(Exception):  # noqa: N818 - it is told, and ends nothing
    """A key of the operator's templates is none that an index may be signed with; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class VendorKey:
    """A key that an index may be signed with; ``fingerprint`` is the SHA-256 of its SubjectPublicKeyInfo in DER."""

    fingerprint: str
    _key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey

    def accepts(self, signature: bytes, content: bytes) -> bool:
        """Tell whether a signature over the SHA-256 of content was made with the private half."""
        try:
            if isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(signature, content, padding.PKCS1v15(), hashes.SHA256())
            else:
                self._key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def read_keys(texts: Sequence[str]) -> list[VendorKey]:
    """Return keys of their PEM forms.

    Raises:
        KeyProblem: there is none, or one of them is none.
    """
    if not texts:
        raise KeyProblem("the operator was given no public key of the vendor, so no index can be believed")
    return [_read_key(text, number) for number, text in enumerate(texts, start=1)]


def _read_key(text: str, number: int) -> VendorKey:
    what = f"public key {number} of the operator's templates"
    if len(text) > _LARGEST_PEM:
        raise KeyProblem(f"{what} is no text of a public key in PEM form")
    if "PRIVATE KEY" in text:
        raise KeyProblem(f"{what} is a private key, which nobody but the vendor may have: put the public one there")
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyProblem(f"{what} is none: {error}"[:300]) from None
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name != "secp256r1":
            raise KeyProblem(f"{what} is of the curve {key.curve.name}; an index is signed with P-256 or RSA")
    elif not isinstance(key, rsa.RSAPublicKey):
        raise KeyProblem(f"{what} is neither an ECDSA nor an RSA key")
    elif not _SMALLEST_RSA <= key.key_size <= _LARGEST_RSA:
        raise KeyProblem(f"{what} is an RSA key of {key.key_size} bits; it has {_SMALLEST_RSA} to {_LARGEST_RSA}")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return VendorKey(hashlib.sha256(der).hexdigest(), key)
