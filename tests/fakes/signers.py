"""Signers whose keys are in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from builder.kmod.signature import HASHES, Certificate
from builder.signing.access import OpenSigner
from builder.signing.certificates import SignerIdentity
from builder.signing.log import SigningLog
from builder.signing.modules import SigningJob

if TYPE_CHECKING:
    from pathlib import Path


NOW = datetime(2026, 11, 23, tzinfo=UTC)


KEYS: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {
    "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "other": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ec": ec.generate_private_key(ec.SECP384R1()),
}


_USAGE = dict.fromkeys(
    ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False
)  # fmt: skip


def certify(
    kind: str = "rsa",
    *,
    name: str = "Vendor",
    since: datetime = NOW - timedelta(days=1),
    until: datetime = NOW + timedelta(days=1),
    digital_signature: bool | None = True,
    extended: x509.ObjectIdentifier | None = None,
    unit: str = "",
) -> Certificate:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    parts += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
    key = KEYS[kind]
    builder = x509.CertificateBuilder().subject_name(x509.Name(parts)).issuer_name(x509.Name(parts))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(since).not_valid_after(until)
    if digital_signature is not None:
        builder = builder.add_extension(x509.KeyUsage(digital_signature=digital_signature, **_USAGE), critical=True)
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage([extended]), critical=False)
    return Certificate(builder.sign(key, hashes.SHA256()))


class MemoryKey:
    """A key in memory."""

    def __init__(self, kind: str) -> None:
        self._key = KEYS[kind]

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

        prehashed = Prehashed(HASHES[algorithm])
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(digest, padding.PKCS1v15(), prehashed)
        return self._key.sign(digest, ec.ECDSA(prehashed))


def make_signer(kind: str = "rsa", algorithm: str = "sha256", key: str | None = None, **certificate: Any) -> OpenSigner:
    identity = SignerIdentity(name=kind, certificate=certify(kind, **certificate), algorithm=algorithm)
    return OpenSigner(identity=identity, key=MemoryKey(key or kind))


def make_job(tmp_path: Path, *signers: OpenSigner) -> SigningJob:
    return SigningJob(signers=signers, log=SigningLog(tmp_path / "signing.jsonl"), cell="demo-1/k", run="r")
