"""Image signatures as podman, CRI-O and cosign 2 read them: simple signing payloads in an image tagged ``.sig``.

Formats: containers/image, docs/containers-signature.5 (payload); sigstore/cosign, specs/SIGNATURE_SPEC.md (image).
Pure.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field

from builder.digest import sha256_of
from builder.errors import FormatError
from builder.foreign import Parsed, parse_data, parse_json
from builder.image.manifests import dump, make_descriptor, make_list_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.signing.public_key import PublicKey

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_KIND = "cosign container image signature"
_MOST_SIGNATURES = 1000


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
    """Return manifest and configuration of the ``.sig`` image that has new signatures, too.

    Args:
        new: what is added.
        there: manifest of the list that is there. What others put into it stays, whatever it is, as long as it is a
            layer: one that is none would keep every engine from reading the whole list.

    Raises:
        FormatError: what is there is no list, or the list would be longer than anybody reads.
    """
    layers = [] if there is None else [item for item in _list_layers(there) if _parse_layer(item) is not None]
    layers += [
        make_descriptor(PAYLOAD_TYPE, item.payload_digest, item.payload_size)
        | {"annotations": {**dict(item.annotations), _SIGNATURE: base64.b64encode(item.signature).decode()}}
        for item in new
    ]
    if len(layers) > _MOST_SIGNATURES:
        raise FormatError(
            f"its list of signatures would have {len(layers)} entries, and nobody reads more than {_MOST_SIGNATURES}"
        )
    return make_list_image(layers)


class _Layer(Parsed):
    media_type: str = Field(alias="mediaType")
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, strict=True)]
    annotations: dict[str, str] = Field(default_factory=dict)


class _SignatureManifest(Parsed):
    layers: Annotated[list[Any], Field(max_length=_MOST_SIGNATURES)]


def parse_signature_image(content: bytes) -> list[ImageSignature]:
    """Return the signatures that the manifest of a ``.sig`` image lists.

    Anybody who may sign adds to it, so layers of other kinds, and what is no signature, are passed over.

    Raises:
        FormatError: it is no manifest, or lists too many.
    """
    return [signature for item in _list_layers(content) if (signature := _read_layer(item)) is not None]


def _list_layers(content: bytes) -> list[Any]:
    return parse_json(_SignatureManifest, content, "list of signatures").layers


def _parse_layer(item: object) -> _Layer | None:
    try:
        return parse_data(_Layer, item, "signature")
    except FormatError:
        return None


def _read_layer(item: object) -> ImageSignature | None:
    layer = _parse_layer(item)
    if layer is None or layer.media_type != PAYLOAD_TYPE:
        return None
    try:
        signature = base64.b64decode(layer.annotations.get(_SIGNATURE, ""), validate=True)
    except ValueError:
        return None
    if not signature:
        return None
    others = tuple(sorted((key, value) for key, value in layer.annotations.items() if key != _SIGNATURE))
    return ImageSignature(layer.digest, layer.size, signature, others)


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
