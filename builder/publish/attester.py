"""Signs published images and attaches what is attested of them: what is there and right already is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.digest import sha256_of
from builder.image.manifests import make_descriptor
from builder.publish.attachments import WRONG, Artifact
from builder.publish.attest.bundle import BUNDLE_TYPE, PREDICATE_ANNOTATION, open_bundle, sign_statement
from builder.publish.attest.simple_signing import ImageSignature, is_signed_as, make_payload
from builder.publish.export import media_type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from builder.image.manifests import Entry
    from builder.publish.attachments import Attachments, AttachmentWriter
    from builder.publish.publishable import Statements
    from builder.pullspec import Pullspec
    from builder.signing.image_key import OpenImageSigner
    from builder.signing.public_key import PublicKey

_CREATED = "org.opencontainers.image.created"
_CONTENT = "dev.sigstore.bundle.content"


class Attester:
    """Signs images and what is stated of them, with one key; safe to use from several threads."""

    def __init__(self, attachments: AttachmentWriter, signer: OpenImageSigner) -> None:
        self._attachments = attachments
        self._signer = signer

    def complete(
        self,
        image: Pullspec,
        manifest: bytes,
        identities: Sequence[str],
        predicates: Collection[str],
        state: Callable[[], Statements],
    ) -> int:
        """Add the signatures and statements that an image does not have; returns how many.

        Args:
            image: by digest; it must be in its repository.
            manifest: of it.
            identities: full names with tags that it has or gets.
            predicates: kinds of statements that it must have.
            state: gives its statements; called if need be.

        Raises:
            SourceError: a registry refused, or gave no answer.
            SignerError: the key does not sign.
        """
        unsigned, unstated = self._find_missing(image, identities, predicates)
        if unsigned:
            payloads = [make_payload(name, image.reference) for name in unsigned]
            self._attachments.add_signatures(image, [(payload, self._sign_payload(payload)) for payload in payloads])
        if unstated:
            statements = state()
            artifacts = [self._sign_statement(kind, statements.by_kind[kind], statements.made) for kind in unstated]
            subject = make_descriptor(media_type_of(manifest), image.reference, len(manifest))
            self._attachments.add(image, subject, artifacts)
        return len(unsigned) + len(unstated)

    def missing(self, image: Pullspec, identities: Sequence[str], predicates: Collection[str]) -> list[str]:
        """Return what an image lacks, in words. Errors are those of ``complete``."""
        unsigned, unstated = self._find_missing(image, identities, predicates)
        return [*(f"a signature for {name}" for name in unsigned), *(f"a statement {kind}" for kind in unstated)]

    def _find_missing(
        self, image: Pullspec, identities: Sequence[str], predicates: Collection[str]
    ) -> tuple[list[str], list[str]]:
        """Return the names that an image is not signed for, and the kinds of statements that it does not have."""
        keys = [self._signer.key]
        there = self._attachments.signatures(image)
        unsigned = [name for name in identities if not is_signed_as(there, name, image.reference, keys)]
        stated = stated_predicates(self._attachments, image, keys) if predicates else set()
        return unsigned, [kind for kind in predicates if kind not in stated]

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
