"""The signature at the end of a module: what is appended is read again, and what kernels would not read is refused."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fakes.signers import MemoryKey, certify

from builder.errors import FormatError
from builder.kmod.signature import append_signature, parse_certificate, split_signature

_CONTENT = b"\x7fELF a module"
_END = b"~Module signature appended~\n"


def _sign(kind: str = "rsa", algorithm: str = "sha256", content: bytes = _CONTENT) -> bytes:
    return MemoryKey(kind).sign(hashlib.new(algorithm, content).digest(), algorithm)


@pytest.mark.parametrize(("kind", "algorithm"), [("rsa", "sha256"), ("rsa", "sha512"), ("ec", "sha384")])
def test_what_is_appended_is_read_again(kind: str, algorithm: str) -> None:
    certificate = certify(kind)
    signed = split_signature(append_signature(_CONTENT, [(certificate, algorithm, _sign(kind, algorithm))]))
    (entry,) = signed.signers
    assert (signed.content, entry.digest_algorithm, entry.is_rsa) == (_CONTENT, algorithm, kind == "rsa")
    assert (entry.issuer, entry.serial_number) == certificate.identity
    assert certificate.accepts(entry.signature, signed.digest(algorithm), algorithm)
    assert not certificate.accepts(entry.signature, hashlib.new(algorithm, b"another").digest(), algorithm)
    if kind == "rsa":
        assert not certify("other").accepts(entry.signature, signed.digest(algorithm), algorithm)


def test_several_signers_share_one_signature() -> None:
    signers = [(certify("rsa"), "sha256", _sign("rsa")), (certify("ec"), "sha384", _sign("ec", "sha384"))]
    found = split_signature(append_signature(_CONTENT, signers)).signers
    assert {entry.serial_number for entry in found} == {certificate.identity[1] for certificate, _, _ in signers}


def test_a_module_without_signature_has_no_signers() -> None:
    assert split_signature(_CONTENT).signers == ()
    assert split_signature(_CONTENT).content == _CONTENT


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (b"", "cut off"),
        (bytes([0, 0, 1, 0, 0, 0, 0, 0]) + (5).to_bytes(4, "big"), "not of the PKCS#7 kind"),
        (bytes([0, 0, 2, 0, 0, 0, 0, 0]) + (0).to_bytes(4, "big"), "claims a length of 0"),
        (bytes([0, 0, 2, 0, 0, 0, 0, 0]) + (2**31).to_bytes(4, "big"), "claims a length of 2147483648"),
        (bytes([0, 0, 2, 0, 0, 0, 0, 0]) + (5).to_bytes(4, "big"), "not the PKCS#7 form"),
    ],
)
def test_a_damaged_signature_is_refused(tail: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        split_signature((_CONTENT if tail else b"") + tail + _END)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_certificates_are_read_in_both_forms(encoding: Encoding) -> None:
    certificate = certify(name="Vendor")
    read = parse_certificate(certificate.x509.public_bytes(encoding))
    assert (read.fingerprint, read.subject, read.is_rsa) == (certificate.fingerprint, "CN=Vendor", True)


@pytest.mark.parametrize("data", [b"", b"text", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_told(data: bytes) -> None:
    with pytest.raises(FormatError, match="not a certificate"):
        parse_certificate(data)


def test_a_key_that_kernels_do_not_verify_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    known = certify().x509
    builder = x509.CertificateBuilder().subject_name(known.subject).issuer_name(known.issuer).serial_number(7)
    builder = builder.not_valid_before(known.not_valid_before_utc).not_valid_after(known.not_valid_after_utc)
    made = builder.public_key(key.public_key()).sign(key, None)
    with pytest.raises(FormatError, match="neither RSA nor ECDSA"):
        parse_certificate(made.public_bytes(Encoding.DER))
