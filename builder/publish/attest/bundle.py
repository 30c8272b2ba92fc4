"""Statements about images, signed: in-toto statements in DSSE envelopes in sigstore bundles, as cosign 3 reads them.

Formats: in-toto attestation v1 (statement), secure-systems-lab/dsse v1 (envelope), sigstore protobuf-specs
``dev.sigstore.bundle`` v0.3 (bundle), sigstore/cosign specs/BUNDLE_SPEC.md (its place in a registry). Pure.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from builder.errors import FormatError
from builder.foreign import Base64, Parsed, parse_json
from builder.image.manifests import dump

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from builder.signing.public_key import PublicKey

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE_ANNOTATION = "dev.sigstore.bundle.predicateType"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
SIGNATURE_PREDICATE = "https://sigstore.dev/cosign/sign/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is said of images: their digests (``sha256:…``) by name, the kind of what is said, and what is said."""

    subjects: Mapping[str, str]
    predicate_type: str
    predicate: Mapping[str, Any]


def make_statement(name: str, digest: str, predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """Return a statement about one image; the same arguments give the same bytes."""
    subject = {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
    statement = {"_type": _STATEMENT, "subject": [subject], "predicateType": predicate_type, "predicate": predicate}
    return dump(statement)


def sign_statement(statement: bytes, key: PublicKey, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the bundle of a statement.

    Args:
        statement: its JSON.
        key: the public half of the key that signs.
        sign: gets the bytes to be signed, returns the signature over their SHA-256.
    """
    signature = base64.b64encode(sign(_encode(statement))).decode()
    envelope = {
        "payload": base64.b64encode(statement).decode(),
        "payloadType": _PAYLOAD_TYPE,
        "signatures": [{"sig": signature}],
    }
    material: dict[str, Any] = {"publicKey": {"hint": key.hint}, "tlogEntries": [], "timestampVerificationData": None}
    return dump({"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope})


class _Signature(Parsed):
    sig: Base64


class _Envelope(Parsed):
    payload: Base64
    payload_type: Literal["application/vnd.in-toto+json"] = Field(alias="payloadType")
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=10)]


class _Bundle(Parsed):
    envelope: _Envelope = Field(alias="dsseEnvelope")


class _Digest(Parsed):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Subject(Parsed):
    name: str = ""
    digest: _Digest


class _Statement(Parsed):
    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[list[_Subject], Field(min_length=1)]
    predicate_type: str = Field(alias="predicateType")
    predicate: dict[str, Any] | None = None


def open_bundle(content: bytes, keys: Sequence[PublicKey]) -> Statement:
    """Return the statement of a bundle after verifying its signature.

    Raises:
        FormatError: it is no bundle of a statement, or none of the keys signed it.
    """
    envelope = parse_json(_Bundle, content, "sigstore bundle").envelope
    encoded = _encode(envelope.payload)
    if not any(key.accepts(item.sig, encoded) for item in envelope.signatures for key in keys):
        raise FormatError("its signature was not made with the given key, or it was changed after it was signed")
    statement = parse_json(_Statement, envelope.payload, "in-toto statement")
    return Statement(
        subjects={item.name: f"sha256:{item.digest.sha256}" for item in statement.subject},
        predicate_type=statement.predicate_type,
        predicate=statement.predicate or {},
    )


def _encode(payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding."""
    kind = _PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
