"""Statements about images, signed: in-toto statements in DSSE envelopes in sigstore bundles, as cosign 3 reads them.

Formats: in-toto attestation v1 (statement), secure-systems-lab/dsse v1 (envelope), sigstore protobuf-specs
``dev.sigstore.bundle`` v0.3 (bundle), sigstore/cosign specs/BUNDLE_SPEC.md (its place in a registry). The same envelope
is attached by itself for those who read no bundles: ``attached.py``. Pure.
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
    """Return the bundle of a statement: see ``sign_envelope`` and ``make_bundle``."""
    return make_bundle(sign_envelope(statement, sign), key)


def sign_envelope(payload: bytes, sign: Callable[[bytes], bytes], *, kind: str = _PAYLOAD_TYPE) -> bytes:
    """Return the envelope of a payload.

    Args:
        payload: JSON.
        sign: gets the bytes to be signed, returns the signature over their SHA-256.
        kind: what the payload is: a statement, unless said. It is signed, too.
    """
    return _dump_envelope(payload, [sign(_encode(payload, kind))], kind)


def _dump_envelope(payload: bytes, signatures: Sequence[bytes], kind: str = _PAYLOAD_TYPE) -> bytes:
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": [{"keyid": "", "sig": base64.b64encode(item).decode()} for item in signatures],
    }
    return dump(envelope)


def make_bundle(envelope: bytes, key: PublicKey) -> bytes:
    """Return the bundle of an envelope that was signed with the private half of a key.

    Raises:
        FormatError: it is no envelope of a statement.
    """
    parsed = _read_envelope(envelope)
    signatures = [{"sig": base64.b64encode(item.sig).decode()} for item in parsed.signatures]
    payload = base64.b64encode(parsed.payload).decode()
    material: dict[str, Any] = {"publicKey": {"hint": key.hint}, "tlogEntries": [], "timestampVerificationData": None}
    enclosed = {"payload": payload, "payloadType": _PAYLOAD_TYPE, "signatures": signatures}
    return dump({"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": enclosed})


def envelope_of(bundle: bytes) -> bytes:
    """Return the envelope of a bundle, as it is attached by itself: equal bundles give the same bytes.

    Raises:
        FormatError: it is no bundle of a statement.
    """
    return _rewrite(parse_json(_Bundle, bundle, "sigstore bundle").envelope)


def rewrite_envelope(envelope: bytes) -> bytes:
    """Return an envelope in the form that ``envelope_of`` gives, so that the two can be compared.

    Raises:
        FormatError: it is no envelope of a statement.
    """
    return _rewrite(_read_envelope(envelope))


def _rewrite(envelope: _Envelope) -> bytes:
    return _dump_envelope(envelope.payload, [item.sig for item in envelope.signatures])


class _Signature(Parsed):
    sig: Base64


class _OpenEnvelope(Parsed):
    payload: Base64
    payload_type: str = Field(alias="payloadType")
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=10)]


class _Envelope(_OpenEnvelope):
    payload_type: Literal["application/vnd.in-toto+json"] = Field(alias="payloadType")


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
    return _open(parse_json(_Bundle, content, "sigstore bundle").envelope, keys)


def open_envelope(content: bytes, keys: Sequence[PublicKey]) -> Statement:
    """Return the statement of an envelope that is attached by itself; raises as ``open_bundle``."""
    return _open(_read_envelope(content), keys)


def open_payload(content: bytes, kind: str, keys: Sequence[PublicKey]) -> bytes:
    """Return what an envelope holds that is of another kind than a statement.

    Raises:
        FormatError: it is no envelope of that kind, or none of the keys signed it.
    """
    envelope = _read_kind(content, kind)
    _require_signature(envelope, _encode(envelope.payload, kind), keys)
    return envelope.payload


def read_envelope(content: bytes, kind: str) -> bytes:
    """Return what an envelope holds, whoever signed it; raises FormatError where it is none of that kind."""
    return _read_kind(content, kind).payload


def _read_kind(content: bytes, kind: str) -> _OpenEnvelope:
    envelope = parse_json(_OpenEnvelope, content, "envelope")
    if envelope.payload_type != kind:
        raise FormatError(f"it is signed as {envelope.payload_type!r}, and not as {kind}"[:300])
    return envelope


def _require_signature(envelope: _OpenEnvelope, encoded: bytes, keys: Sequence[PublicKey]) -> None:
    if not any(key.accepts(item.sig, encoded) for item in envelope.signatures for key in keys):
        raise FormatError("its signature was not made with the given key, or it was changed after it was signed")


def _read_envelope(content: bytes) -> _Envelope:
    return parse_json(_Envelope, content, "envelope of a statement")


def _open(envelope: _Envelope, keys: Sequence[PublicKey]) -> Statement:
    _require_signature(envelope, _encode(envelope.payload), keys)
    statement = parse_json(_Statement, envelope.payload, "in-toto statement")
    return Statement(
        subjects={item.name: f"sha256:{item.digest.sha256}" for item in statement.subject},
        predicate_type=statement.predicate_type,
        predicate=statement.predicate or {},
    )


def _encode(payload: bytes, kind: str = _PAYLOAD_TYPE) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding."""
    named = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(named), named, len(payload), payload)
