"""Signs published images and attaches what is attested of them: what is there and right already is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.digest import sha256_of
from builder.publish.attachments import WRONG, Artifact
from builder.publish.attest.bundle import BUNDLE_TYPE, PREDICATE_ANNOTATION, open_bundle, sign_statement
from builder.publish.attest.simple_signing import ImageSignature, is_signed_as, make_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from builder.image.manifests import Entry
    from builder.publish.attachments import Attachments, AttachmentWriter
    from builder.pullspec import Pullspec
    from builder.signing.image_key import OpenImageSigner
    from builder.signing.public_key import PublicKey

_CREATED = "org.opencontainers.image.created"
_CONTENT = "dev.sigstore.bundle.content"


class Signatory:
    """Signs with one key; safe to use from several threads."""

    def __init__(self, attachments: AttachmentWriter, signer: OpenImageSigner) -> None:
        self._attachments = attachments
        self._signer = signer

    def complete(
        self,
        image: Pullspec,
        identities: Sequence[str],
        predicates: Collection[str],
        make: Callable[[], tuple[Mapping[str, object], Mapping[str, bytes], str]],
    ) -> int:
        """Add the signatures and statements that an image does not have; returns how many.

        Args:
            image: by digest; it must be in its repository.
            identities: full names with tags that it has or gets.
            predicates: kinds of statements that it must have.
            make: gives its descriptor, its statements by kind, and when it was made (RFC 3339); called if need be.

        Raises:
            SourceError: a registry refused, or gave no answer.
            SignerError: the key does not sign.
        """
        keys = [self._signer.key]
        there = self._attachments.signatures(image)
        unsigned = [name for name in identities if not is_signed_as(there, name, image.reference, keys)]
        if unsigned:
            payloads = [make_payload(name, image.reference) for name in unsigned]
            self._attachments.add_signatures(image, [(payload, self._sign_payload(payload)) for payload in payloads])
        stated = stated_predicates(self._attachments, image, keys)
        missing = [kind for kind in predicates if kind not in stated]
        if missing:
            subject, statements, made = make()
            artifacts = [self._sign_statement(kind, statements[kind], made) for kind in missing]
            self._attachments.add(image, subject, artifacts)
        return len(unsigned) + len(missing)

    def missing(self, image: Pullspec, identities: Sequence[str], predicates: Collection[str]) -> list[str]:
        """Return what an image lacks, in words; raises as ``complete`` does."""
        keys = [self._signer.key]
        there = self._attachments.signatures(image)
        unsigned = [name for name in identities if not is_signed_as(there, name, image.reference, keys)]
        stated = stated_predicates(self._attachments, image, keys)
        return [
            *(f"a signature for {name}" for name in unsigned),
            *(f"a statement {kind}" for kind in predicates if kind not in stated),
        ]

    def _sign_payload(self, payload: bytes) -> ImageSignature:
        return ImageSignature(sha256_of(payload), len(payload), self._signer.sign(payload))

    def _sign_statement(self, kind: str, statement: bytes, made: str) -> Artifact:
        bundle = sign_statement(statement, self._signer.key, self._signer.sign)
        annotations = {_CREATED: made, _CONTENT: "dsse-envelope", PREDICATE_ANNOTATION: kind}
        return Artifact(kind=BUNDLE_TYPE, content=bundle, annotations=annotations)


def bundles_of(referrers: Sequence[Entry], predicate: str) -> list[Entry]:
    """Return the referrers that say that they are bundles of a kind of statement."""
    return [
        entry
        for entry in referrers
        if entry.artifact_type == BUNDLE_TYPE and entry.annotations.get(PREDICATE_ANNOTATION) == predicate
    ]


def stated_predicates(attachments: Attachments, image: Pullspec, keys: Sequence[PublicKey]) -> set[str]:
    """Return the kinds of statements that one of the keys signed about an image; others are passed over."""
    found = set()
    for entry in attachments.referrers(image):
        if entry.artifact_type != BUNDLE_TYPE:
            continue
        try:
            statement = open_bundle(attachments.blob(image, entry), keys)
        except WRONG:
            continue  # somebody else's, or damaged: ours is added beside it
        if image.reference in statement.subjects.values():
            found.add(statement.predicate_type)
    return found
