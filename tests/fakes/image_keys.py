"""Keys that sign images, in memory in place of the process that holds one."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from builder.signing.image_key import OpenImageSigner
from builder.signing.public_key import parse_public_key


class ImageKey:
    """A private key in memory."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        assert algorithm == "sha256"
        return self._key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))

    def close(self) -> None:
        pass


def make_image_signer() -> OpenImageSigner:
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return OpenImageSigner(parse_public_key(public), ImageKey(key))
