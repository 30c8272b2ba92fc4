"""Statements as those find them who read no bundles: DSSE envelopes, each a layer of an image tagged ``.att``.

Format: sigstore/cosign, specs/ATTESTATION_SPEC.md. cosign 2, sigstore's policy-controller and cosign 3 with
``--new-bundle-format=false`` read it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.digest import sha256_of
from builder.image.manifests import make_descriptor
from builder.publish.attest.bundle import SIGNATURE_PREDICATE
from builder.publish.attest.listed import SIGNATURE_ANNOTATION, extend_list, read_layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
PREDICATE_ANNOTATION = "predicateType"
_WHAT = "attestations"


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
    # Empty, and all the same wanted: the signature is in the envelope.
    annotations = ((SIGNATURE_ANNOTATION, ""), (PREDICATE_ANNOTATION, kind))
    return AttachedStatement(sha256_of(envelope), len(envelope), annotations)


def make_attestation_image(new: Sequence[AttachedStatement], there: bytes | None = None) -> tuple[bytes, bytes]:
    """Return manifest and configuration of the ``.att`` image that has new envelopes, too; see ``extend_list``."""
    layers = [
        make_descriptor(ENVELOPE_TYPE, item.digest, item.size) | {"annotations": dict(item.annotations)} for item in new
    ]
    return extend_list(there, layers, _WHAT)


def parse_attestation_image(content: bytes) -> list[AttachedStatement]:
    """Return the envelopes that the manifest of an ``.att`` image lists; layers of other kinds are passed over.

    Raises:
        FormatError: it is no manifest, or lists too many.
    """
    return [
        AttachedStatement(layer.digest, layer.size, tuple(sorted(layer.annotations.items())))
        for layer in read_layers(content, _WHAT)
        if layer.media_type == ENVELOPE_TYPE
    ]
