"""Public keys of image signers: ECDSA on P-256, as cosign makes them, and RSA. Signatures are over SHA-256. Pure."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from builder.errors import FormatError

_SMALLEST_RSA = 2048


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures of images are verified with; ``der`` is its SubjectPublicKeyInfo (RFC 5280, 4.1.2.7)."""

    der: bytes
    _key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER form, hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def hint(self) -> str:
        """How bundles name the key (sigstore bundle v0.3, publicKey.hint, as cosign fills it)."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode()

    @property
    def pem(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_bytes(serialization.Encoding.PEM, form).decode()

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


def parse_public_key(content: bytes) -> PublicKey:
    """Read a public key, PEM or DER.

    Raises:
        FormatError: it is no public key, or of a kind that podman, CRI-O and cosign would not all take.
    """
    if b"PRIVATE KEY" in content:
        raise FormatError("it holds a private key; the public key is a file of its own ('openssl pkey -pubout')")
    read = serialization.load_pem_public_key if b"-----BEGIN" in content else serialization.load_der_public_key
    try:
        key = read(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(f"it is no public key: {error}") from None
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name != "secp256r1":
            raise FormatError(f"its curve is {key.curve.name}; images are signed with P-256 (secp256r1) or RSA")
    elif not isinstance(key, rsa.RSAPublicKey):
        raise FormatError("it is neither an ECDSA nor an RSA key")
    elif key.key_size < _SMALLEST_RSA:
        raise FormatError(f"it is an RSA key of {key.key_size} bits; at least {_SMALLEST_RSA} are needed")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return PublicKey(key.public_bytes(serialization.Encoding.DER, form), key)
