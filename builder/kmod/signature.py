"""The signature at the end of a kernel module: read, made and verified as the kernel does.

Format (kernel/module_signature.c, scripts/sign-file.c, crypto/asymmetric_keys/pkcs7_parser.c): the module, a PKCS#7
SignedData (RFC 5652) without content, attributes and certificates, ``struct module_signature`` (12 bytes, the last
four the big-endian length of the PKCS#7 part), and a magic line. Several signers share one SignedData; the kernel
accepts a module when it trusts any one of them (crypto/asymmetric_keys/pkcs7_trust.c). Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from builder.errors import FormatError
from builder.kmod.trailer import join_trailer, split_trailer

if TYPE_CHECKING:
    from collections.abc import Sequence


_OID = x509.ObjectIdentifier
_SIGNED_DATA = _OID("1.2.840.113549.1.7.2")
_DATA = _OID("1.2.840.113549.1.7.1")
_RSA_ENCRYPTION = _OID("1.2.840.113549.1.1.1")
_DIGEST_OIDS = {
    "sha256": _OID("2.16.840.1.101.3.4.2.1"),
    "sha384": _OID("2.16.840.1.101.3.4.2.2"),
    "sha512": _OID("2.16.840.1.101.3.4.2.3"),
}
_ECDSA_OIDS = {
    "sha256": _OID("1.2.840.10045.4.3.2"),
    "sha384": _OID("1.2.840.10045.4.3.3"),
    "sha512": _OID("1.2.840.10045.4.3.4"),
}
_DIGEST_OF_OID = {oid: name for name, oid in _DIGEST_OIDS.items()}
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@asn1.sequence
class _AlgorithmIdentifier:
    algorithm: x509.ObjectIdentifier
    parameters: asn1.Null | None = None


@asn1.sequence
class _NoContent:
    content_type: x509.ObjectIdentifier


@asn1.sequence
class _IssuerAndSerialNumber:
    issuer: asn1.TLV
    serial_number: int


@asn1.sequence
class _SignerInfo:
    version: int
    identity: _IssuerAndSerialNumber
    digest_algorithm: _AlgorithmIdentifier
    signature_algorithm: _AlgorithmIdentifier
    signature: bytes


@asn1.sequence
class _SignedData:
    version: int
    digest_algorithms: asn1.SetOf[_AlgorithmIdentifier]
    content: _NoContent
    signer_infos: asn1.SetOf[_SignerInfo]


@asn1.sequence
class _ContentInfo:
    content_type: x509.ObjectIdentifier
    content: Annotated[_SignedData, asn1.Explicit(0)]


@dataclass(frozen=True)
class Certificate:
    """A signer's X.509 certificate."""

    x509: x509.Certificate

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the DER form, in hex: what administrators compare."""
        return self.x509.fingerprint(hashes.SHA256()).hex()

    @cached_property
    def der(self) -> bytes:
        return self.x509.public_bytes(serialization.Encoding.DER)

    @property
    def subject(self) -> str:
        return self.x509.subject.rfc4514_string()

    @property
    def public_key(self) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
        key = self.x509.public_key()
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise FormatError("its key is neither RSA nor ECDSA, and kernels verify no other")
        return key

    @cached_property
    def identity(self) -> tuple[bytes, int]:
        """Issuer (DER) and serial number: how a signature names its certificate."""
        return self.x509.issuer.public_bytes(), self.x509.serial_number

    @property
    def is_rsa(self) -> bool:
        return isinstance(self.public_key, rsa.RSAPublicKey)

    def accepts(self, signature: bytes, digest: bytes, algorithm: str) -> bool:
        """Tell whether a raw signature over a digest was made with this certificate's key."""
        prehashed = Prehashed(HASHES[algorithm])
        key = self.public_key
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, digest, padding.PKCS1v15(), prehashed)
            else:
                key.verify(signature, digest, ec.ECDSA(prehashed))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SignerEntry:
    """What a module signature says of one signer."""

    issuer: bytes
    serial_number: int
    digest_algorithm: str
    signature: bytes
    is_rsa: bool = True
    """What the entry says of the key; kernels refuse an entry that says another kind than the certificate's."""


@dataclass(frozen=True, slots=True)
class SignedModule:
    """A module split into what was signed and by whom; no signers where there is no signature."""

    content: bytes
    signers: tuple[SignerEntry, ...]

    def digest(self, algorithm: str) -> bytes:
        return hashlib.new(algorithm, self.content).digest()


def parse_certificate(data: bytes) -> Certificate:
    """Parse a certificate, PEM or DER.

    Raises:
        FormatError: it is none, or its key is of a kind that kernels do not verify.
    """
    read = x509.load_pem_x509_certificate if b"-----BEGIN" in data else x509.load_der_x509_certificate
    try:
        certificate = Certificate(read(data))
        # Only what is asked for is parsed: ask for everything now.
        parts = (certificate.subject, certificate.identity, certificate.public_key, certificate.x509.extensions)
        assert parts, certificate.x509.not_valid_after_utc  # noqa: S101 - for its errors
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion) as error:
        raise FormatError(f"it is not a certificate: {error}"[:300]) from None
    return certificate


def split_signature(data: bytes) -> SignedModule:
    """Split a module, uncompressed, from its signature.

    Raises:
        FormatError: there is a signature, but a damaged one or one that kernels would not read.
    """
    content, signature = split_trailer(data)
    return SignedModule(content, _read_signers(signature) if signature else ())


def append_signature(content: bytes, signers: Sequence[tuple[Certificate, str, bytes]]) -> bytes:
    """Append a signature to a module, uncompressed.

    Args:
        content: the module, without signature.
        signers: for each signer its certificate, its digest algorithm and its raw signature of the content.
    """
    algorithms = sorted({algorithm for _, algorithm, _ in signers})
    signed_data = _SignedData(
        version=1,
        digest_algorithms=asn1.SetOf([_digest_algorithm(algorithm) for algorithm in algorithms]),
        content=_NoContent(content_type=_DATA),
        signer_infos=asn1.SetOf([_signer_info(*signer) for signer in signers]),
    )
    pkcs7 = asn1.encode_der(_ContentInfo(content_type=_SIGNED_DATA, content=signed_data))
    return join_trailer(content, pkcs7)


def _digest_algorithm(algorithm: str) -> _AlgorithmIdentifier:
    return _AlgorithmIdentifier(algorithm=_DIGEST_OIDS[algorithm], parameters=None)


def _signer_info(certificate: Certificate, algorithm: str, signature: bytes) -> _SignerInfo:
    issuer, serial_number = certificate.identity
    if isinstance(certificate.public_key, rsa.RSAPublicKey):
        signature_algorithm = _AlgorithmIdentifier(algorithm=_RSA_ENCRYPTION, parameters=asn1.Null())
    else:
        signature_algorithm = _AlgorithmIdentifier(algorithm=_ECDSA_OIDS[algorithm], parameters=None)
    return _SignerInfo(
        version=1,
        identity=_IssuerAndSerialNumber(issuer=asn1.decode_der(asn1.TLV, issuer), serial_number=serial_number),
        digest_algorithm=_digest_algorithm(algorithm),
        signature_algorithm=signature_algorithm,
        signature=signature,
    )


def _read_signers(pkcs7: bytes) -> tuple[SignerEntry, ...]:
    try:
        info = asn1.decode_der(_ContentInfo, pkcs7)
    except ValueError as error:
        raise FormatError(f"its signature is not the PKCS#7 form that kernels read: {error}") from None
    entries = []
    for signer in info.content.signer_infos.as_list():
        algorithm = _DIGEST_OF_OID.get(signer.digest_algorithm.algorithm)
        if algorithm is None:
            name = signer.digest_algorithm.algorithm.dotted_string
            raise FormatError(f"its signature uses the digest {name}, not SHA-256, -384 or -512")
        issuer = asn1.encode_der(signer.identity.issuer)
        by = signer.signature_algorithm.algorithm
        if by not in {_RSA_ENCRYPTION, _ECDSA_OIDS[algorithm]}:
            raise FormatError(f"its signature uses the algorithm {by.dotted_string}, not RSA or ECDSA with {algorithm}")
        is_rsa = by == _RSA_ENCRYPTION
        entries.append(SignerEntry(issuer, signer.identity.serial_number, algorithm, signer.signature, is_rsa))
    if info.content_type != _SIGNED_DATA or not entries:
        raise FormatError("its signature names no signer")
    return tuple(entries)
