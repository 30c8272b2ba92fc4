"""Signers of versions.yaml and what their certificates allow. The keys behind them: ``builder.signing.access``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from builder.errors import FormatError, SignerError
from builder.kmod.fit import ExpectedSigner
from builder.kmod.signature import parse_certificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from builder.config.model.config import Config
    from builder.kmod.signature import Certificate

# The subject of a certificate that 'keys create' made says so in its organizational unit.
DEVELOPMENT_UNIT = "kmodsmith development key"
# Red Hat's own extended key usage for keys that may sign modules only (shim, "SB_SIGNING" documentation).
_MODULE_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.2312.16.1.2")
_MAY_SIGN_CODE = frozenset(
    {ExtendedKeyUsageOID.CODE_SIGNING, _MODULE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerIdentity:
    """A signer by name, with its certificate and digest algorithm: all that a cell's key needs to know of it."""

    name: str
    certificate: Certificate
    algorithm: str

    @property
    def is_development(self) -> bool:
        units = self.certificate.x509.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        return any(unit.value == DEVELOPMENT_UNIT for unit in units)

    @property
    def expected(self) -> ExpectedSigner:
        return ExpectedSigner(certificate=self.certificate, algorithm=self.algorithm)


def read_certificate(file: Path) -> Certificate:
    """Read a certificate, PEM or DER.

    Raises:
        FormatError: it cannot be read; see ``parse_certificate``.
    """
    try:
        return parse_certificate(file.read_bytes())
    except OSError as error:
        raise FormatError(f"certificate {file} cannot be read: {error.strerror}") from None
    except FormatError as error:
        raise FormatError(f"certificate {file}: {error.message}") from None


def read_identities(config: Config, group: str) -> tuple[SignerIdentity, ...]:
    """Read the certificates of a group's signers. Errors are those of ``read_named_identities``."""
    return read_named_identities(config, config.groups[group].signers)


def read_named_identities(config: Config, names: Iterable[str]) -> tuple[SignerIdentity, ...]:
    """Read the certificates of signers.

    Raises:
        SignerError: there is no such signer, or its certificate cannot be read.
    """
    identities = []
    for name in names:
        signer = config.signers.get(name)
        if signer is None:
            known = ", ".join(sorted(config.signers)) or "none"
            raise SignerError(
                "no-signer",
                f"there is no signer {name!r} in versions.yaml; known: {known}",
                hint="'nox -s keys -- create' makes one for development",
            )
        try:
            certificate = read_certificate(signer.resolve(signer.certificate))
        except FormatError as error:
            raise SignerError("certificate-unreadable", f"signer {name}: {error.message}") from None
        identities.append(SignerIdentity(name=name, certificate=certificate, algorithm=signer.digest))
    return tuple(identities)


def check_policy(config: Config, group: str, identities: Sequence[SignerIdentity]) -> None:
    """Check that a group's signers are what the group demands; whether they may sign now is asked where they sign.

    Raises:
        SignerError: the first thing that is wrong.
    """
    demand = config.groups[group].signing
    if demand != "optional" and not identities:
        raise SignerError(
            "no-signer",
            f"group {group} demands signed modules, but names no signer",
            hint="name one under 'signers' of the group; 'nox -s keys -- create' makes a key for development",
        )
    for identity in identities:
        if demand == "production" and identity.is_development:
            raise SignerError(
                "development-key-forbidden",
                f"signer {identity.name} has a development key, which group {group} forbids (signing: production)",
            )


def check_certificate(identity: SignerIdentity, *, now: datetime) -> None:
    """Check validity and usage of a certificate.

    Raises:
        SignerError: with the code of what is wrong.
    """
    certificate = identity.certificate.x509
    where = f"signer {identity.name}: the certificate of {identity.certificate.subject}"
    if now > certificate.not_valid_after_utc:
        raise SignerError("certificate-expired", f"{where} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if now < certificate.not_valid_before_utc:
        since = certificate.not_valid_before_utc
        raise SignerError("certificate-not-yet-valid", f"{where} is valid only from {since:%Y-%m-%d %H:%M} UTC on")
    if not may_sign_code(certificate):
        raise SignerError(
            "certificate-without-code-signing",
            f"{where} may not be used to sign code",
            hint="it needs the key usage digitalSignature and, if it has extended key usages, codeSigning among them",
        )


def find_complaints(identities: Iterable[SignerIdentity], *, now: datetime) -> list[str]:
    """Return why signers may not sign now, a sentence each; who signs nothing need not stop because of it."""
    complaints = []
    for identity in identities:
        try:
            check_certificate(identity, now=now)
        except SignerError as error:
            complaints.append(error.message)
    return complaints


def may_sign_code(certificate: x509.Certificate) -> bool:
    """Tell whether the usages of a certificate cover signing modules (RFC 5280, 4.2.1.3 and 4.2.1.12)."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return False
    except x509.ExtensionNotFound:
        return False
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool(_MAY_SIGN_CODE & set(usages))
