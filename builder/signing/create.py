"""Keys for development, and what administrators need to trust a signer's certificate. Nothing here is automatic."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from builder.errors import UsageError
from builder.signing.certificates import DEVELOPMENT_UNIT

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from builder.signing.certificates import SignerIdentity

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_LIFETIME = timedelta(days=365)
# Firmware of many machines knows no other than RSA 2048 in its key databases.
_RSA_BITS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    name: str
    key_file: Path
    certificate_file: Path

    def versions_yaml(self, project: Path) -> str:
        """Return what belongs into versions.yaml."""
        certificate = self.certificate_file
        shown = certificate.relative_to(project) if certificate.is_relative_to(project) else certificate
        return f"signers:\n  {self.name}:\n    certificate: {shown}\n    key_file: {self.key_file}\n"


def create_development_key(
    name: str, *, key_folder: Path, certificate_folder: Path, kind: str, now: datetime
) -> CreatedKey:
    """Make a key and a self-signed certificate that says in its subject that it is for development only.

    Args:
        name: name of the signer.
        key_folder: where the key goes; outside of the project, so that no build context and no commit can hold it.
        certificate_folder: where the certificate goes.
        kind: ``rsa`` or ``ecdsa``.
        now: begin of its validity, which is a year.

    Raises:
        UsageError: a key of that name exists; it is never overwritten.
    """
    key: _PrivateKey
    if kind == "rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    else:
        key = ec.generate_private_key(ec.SECP384R1())
    created = CreatedKey(
        name=name, key_file=key_folder / f"{name}.key", certificate_file=certificate_folder / f"{name}.pem"
    )
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, DEVELOPMENT_UNIT),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{name} (development only, do not trust in production)"[:64]),
        ]
    )
    certificate = certify_itself(subject, key, now).public_bytes(serialization.Encoding.PEM)
    _write_pair(created.key_file, key, created.certificate_file, certificate)
    return created


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedImageKey:
    key_file: Path
    public_key_file: Path

    def versions_yaml(self, project: Path) -> str:
        """Return what belongs into versions.yaml."""
        public = self.public_key_file
        shown = public.relative_to(project) if public.is_relative_to(project) else public
        return f"publish:\n  signer:\n    public_key: {shown}\n    key_file: {self.key_file}\n"


def create_image_key(name: str, *, key_folder: Path, public_folder: Path) -> CreatedImageKey:
    """Make a key that signs images, ECDSA P-256, and a file with its public half.

    Raises:
        UsageError: a key of that name exists; it is never overwritten.
    """
    created = CreatedImageKey(key_file=key_folder / f"{name}.key", public_key_file=public_folder / f"{name}.pub")
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    _write_pair(created.key_file, key, created.public_key_file, public)
    return created


def certify_itself(subject: x509.Name, key: _PrivateKey, now: datetime) -> x509.Certificate:
    """Certify a key by itself, with the extensions of the kernel's own certs/default_x509.genkey, and codeSigning."""
    key_identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(key_identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_identifier), critical=False)
        .sign(key, hashes.SHA256())
    )


def _write_pair(key_file: Path, key: _PrivateKey, public_file: Path, public: bytes) -> None:
    """Write a private key, and what others may see of it.

    Raises:
        UsageError: one of the files exists.
    """
    for file in (key_file, public_file):
        if file.exists():
            raise UsageError(f"{file} exists", hint="choose another --name; a key is never overwritten")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_new(key_file, pem, mode=0o600)
    _write_new(public_file, public, mode=0o644)


def _write_new(file: Path, content: bytes, *, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)


def emit_enrolment(identity: SignerIdentity) -> str:
    """Return what an administrator does once on each node, so that its kernel trusts a signer."""
    certificate = identity.certificate
    der = f"{identity.name}.der"
    warning = "\nThis is a DEVELOPMENT key: trust it on test machines only.\n" if identity.is_development else ""
    return f"""\
# Trusting the signer {identity.name}
{warning}
Subject:    {certificate.subject}
SHA-256:    {certificate.fingerprint}
Valid:      {certificate.x509.not_valid_before_utc:%Y-%m-%d} to {certificate.x509.not_valid_after_utc:%Y-%m-%d}

On each node with Secure Boot, once:

1. Compare the fingerprint with one that you got by another way:
   `openssl x509 -inform DER -in {der} -noout -fingerprint -sha256`
2. `mokutil --import {der}` asks for a password that is needed once, in step 3.
3. Reboot; in the firmware's MOK manager choose "Enroll MOK", "Continue", and give the password.
4. `keyctl show %:.platform` or `keyctl show %:.machine` lists the subject; `mokutil --test-key {der}` says that it is
   enrolled.

Images whose modules it signed carry the label `io.kmodsmith.signer.sha256` with the fingerprint above.
"""
