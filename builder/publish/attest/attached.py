"""Statements as those find them who read no bundles: DSSE envelopes, each a layer of an image tagged ``.att``.

Format: sigstore/cosign, specs/ATTESTATION_SPEC.md. cosign 2, sigstore's policy-controller and cosign 3 with
``--new-bundle-format=false`` read it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from builder.digest import sha256_of
from builder.errors import FormatError
from builder.foreign import Parsed, parse_data, parse_json
from builder.image.manifests import make_descriptor, make_list_image
from builder.publish.attest.bundle import SIGNATURE_PREDICATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
PREDICATE_ANNOTATION = "predicateType"
# Empty, and all the same wanted: the signature is in the envelope.
_SIGNATURE = "dev.cosignproject.cosign/signature"
_MOST_LAYERS = 1000
"""cosign reads no list with more."""


@dataclass(frozen=True, slots=True)
class AttachedStatement:
    """One layer of an ``.att`` image: digest and size of its envelope, and what is said of it."""

    digest: str
    size: int
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        """What it says that it states (predicate type); the envelope says what it does."""
        return dict(self.annotations).get(PREDICATE_ANNOTATION, "")


def attached_kinds(predicates: Iterable[str]) -> list[str]:
    """Return the kinds of statements that are attached by themselves, too: the signature has a list of its own."""
    return [kind for kind in predicates if kind != SIGNATURE_PREDICATE]


def attestation_tag(digest: str) -> str:
    """``sha256-0123….att``: where the envelopes about an image are, in its own repository."""
    return f"{digest.replace(':', '-')}.att"


def attach_statement(kind: str, envelope: bytes) -> AttachedStatement:
    annotations = ((_SIGNATURE, ""), (PREDICATE_ANNOTATION, kind))
    return AttachedStatement(sha256_of(envelope), len(envelope), annotations)


def make_attestation_image(new: Sequence[AttachedStatement], there: bytes | None = None) -> tuple[bytes, bytes]:
    """Return manifest and configuration of the ``.att`` image that has new envelopes, too.

    Args:
        new: what is added.
        there: manifest of the list that is there. What others put into it stays, whatever it is, as long as it is a
            layer: one that is none would keep every engine from reading the whole list.

    Raises:
        FormatError: what is there is no list, or the list would be longer than anybody reads.
    """
    layers = [] if there is None else [item for item in _list_layers(there) if _read_layer(item) is not None]
    layers += [
        make_descriptor(ENVELOPE_TYPE, item.digest, item.size) | {"annotations": dict(item.annotations)} for item in new
    ]
    if len(layers) > _MOST_LAYERS:
        raise FormatError(
            f"its list of attestations would have {len(layers)} entries, and nobody reads more than {_MOST_LAYERS}"
        )
    return make_list_image(layers)


class _Layer(Parsed):
    media_type: Annotated[str, Field(alias="mediaType", min_length=1)]
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, strict=True)]
    annotations: dict[str, str] = Field(default_factory=dict)


class _AttestationManifest(Parsed):
    layers: Annotated[list[Any], Field(max_length=_MOST_LAYERS)]


def parse_attestation_image(content: bytes) -> list[AttachedStatement]:
    """Return the envelopes that the manifest of an ``.att`` image lists.

    Anybody who may write adds to it, so layers of other kinds, and what is none, are passed over.

    Raises:
        FormatError: it is no manifest, or lists too many.
    """
    layers = [layer for item in _list_layers(content) if (layer := _read_layer(item)) is not None]
    return [
        AttachedStatement(layer.digest, layer.size, tuple(sorted(layer.annotations.items())))
        for layer in layers
        if layer.media_type == ENVELOPE_TYPE
    ]


def _list_layers(content: bytes) -> list[Any]:
    return parse_json(_AttestationManifest, content, "list of attestations").layers


def _read_layer(item: object) -> _Layer | None:
    try:
        return parse_data(_Layer, item, "attestation")
    except FormatError:
        return None
