"""Private keys in files, PEM or DER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from builder.errors import SignerError
from builder.kmod.signature import HASHES

if TYPE_CHECKING:
    from builder.signing.backends.key import KeyRequest


def open_key(request: KeyRequest) -> FileKey:
    """Open a key file; raises SignerError where it is no key, or needs another passphrase."""
    password = request.passphrase.encode() if request.passphrase else None
    return FileKey(request.content, password, str(request.place))


class FileKey:
    """A private key out of the content of a file."""

    def __init__(self, data: bytes, password: bytes | None, file: str) -> None:
        read = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
        try:
            key = read(data, password)
        except TypeError:
            is_encrypted = password is None
            raise SignerError(
                "passphrase-missing" if is_encrypted else "passphrase-wrong",
                f"key file {file} is {'encrypted' if is_encrypted else 'not encrypted, but a passphrase is given'}",
                hint="name its passphrase with passphrase_env or passphrase_file in versions.yaml"
                if is_encrypted
                else "take passphrase_env or passphrase_file out of versions.yaml, or encrypt the key",
            ) from None
        except (ValueError, UnsupportedAlgorithm) as error:
            code = "passphrase-wrong" if password else "key-unreadable"
            reason = "the passphrase is wrong, or it is damaged" if password else f"it is no private key ({error})"
            raise SignerError(code, f"key file {file} cannot be read: {reason}") from None
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise SignerError("key-unreadable", f"key file {file} holds a key that is neither RSA nor ECDSA")
        self._key = key

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        prehashed = Prehashed(HASHES[algorithm])
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(digest, padding.PKCS1v15(), prehashed)
        try:  # RFC 6979 makes equal inputs give equal images; OpenSSL before 3.2 does not know it
            return self._key.sign(digest, ec.ECDSA(prehashed, deterministic_signing=True))
        except UnsupportedAlgorithm:
            return self._key.sign(digest, ec.ECDSA(prehashed))
