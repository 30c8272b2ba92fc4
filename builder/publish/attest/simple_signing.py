"""Image signatures as podman, CRI-O and cosign 2 read them: simple signing payloads in an image tagged ``.sig``.

Formats: containers/image, docs/containers-signature.5 (payload); sigstore/cosign, specs/SIGNATURE_SPEC.md (image).
Pure.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field

from builder.digest import sha256_of
from builder.foreign import Parsed, parse_json
from builder.image.manifests import dump, make_descriptor
from builder.publish.attest.listed import SIGNATURE_ANNOTATION, extend_list, read_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.publish.attest.listed import ListedLayer
    from builder.signing.public_key import PublicKey

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
_KIND = "cosign container image signature"
_WHAT = "signatures"


@dataclass(frozen=True, slots=True)
class ImageSignature:
    """One signature of a ``.sig`` image: digest and size of its payload, the signature, its other annotations."""

    payload_digest: str
    payload_size: int
    signature: bytes
    annotations: tuple[tuple[str, str], ...] = ()


def signature_tag(digest: str) -> str:
    """``sha256-0123….sig``: where the signatures of an image are, in its own repository."""
    return f"{digest.replace(':', '-')}.sig"


def make_payload(identity: str, digest: str) -> bytes:
    """Return what is signed: that ``identity`` (``repository:tag``) stands for the image.

    The default policy of podman and CRI-O wants the tag in it; the same arguments give the same bytes.
    """
    return dump(
        {
            "critical": {
                "identity": {"docker-reference": identity},
                "image": {"docker-manifest-digest": digest},
                "type": _KIND,
            },
            "optional": None,
        }
    )


class _Identity(Parsed):
    reference: str = Field(alias="docker-reference")


class _Image(Parsed):
    digest: str = Field(alias="docker-manifest-digest")


class _Critical(Parsed):
    model_config = ConfigDict(extra="forbid")

    identity: _Identity
    image: _Image
    type: Literal["cosign container image signature"]


class _Payload(Parsed):
    critical: _Critical


def parse_payload(content: bytes) -> tuple[str, str]:
    """Return identity and digest that a payload is about.

    Raises:
        FormatError: it is no payload, or holds more than one may.
    """
    critical = parse_json(_Payload, content, "payload of an image signature").critical
    return critical.identity.reference, critical.image.digest


def make_signature_image(new: Sequence[ImageSignature], there: bytes | None = None) -> tuple[bytes, bytes]:
    """Return manifest and configuration of the ``.sig`` image that has new signatures, too; see ``extend_list``."""
    layers = [
        make_descriptor(PAYLOAD_TYPE, item.payload_digest, item.payload_size)
        | {"annotations": {**dict(item.annotations), SIGNATURE_ANNOTATION: base64.b64encode(item.signature).decode()}}
        for item in new
    ]
    return extend_list(there, layers, _WHAT)


def parse_signature_image(content: bytes) -> list[ImageSignature]:
    """Return the signatures that the manifest of a ``.sig`` image lists; what is no signature is passed over.

    Raises:
        FormatError: it is no manifest, or lists too many.
    """
    return [found for layer in read_layers(content, _WHAT) if (found := _read_signature(layer)) is not None]


def _read_signature(layer: ListedLayer) -> ImageSignature | None:
    others = dict(layer.annotations)
    try:
        signature = base64.b64decode(others.pop(SIGNATURE_ANNOTATION, ""), validate=True)
    except ValueError:
        return None
    if layer.media_type != PAYLOAD_TYPE or not signature:
        return None
    return ImageSignature(layer.digest, layer.size, signature, tuple(sorted(others.items())))


def is_signed_as(signatures: Sequence[ImageSignature], identity: str, digest: str, keys: Sequence[PublicKey]) -> bool:
    """Tell whether a signature says, by one of the keys, that ``identity`` stands for an image.

    Only payloads as ``make_payload`` writes them are recognised; those need not be fetched, as their digest is known.
    """
    payload = make_payload(identity, digest)
    payload_digest = sha256_of(payload)
    return any(
        key.accepts(item.signature, payload)
        for item in signatures
        if item.payload_digest == payload_digest
        for key in keys
    )
