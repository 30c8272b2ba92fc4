"""Signs published images and attaches what is attested of them: what is there and right already is left alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.digest import sha256_of
from builder.errors import FormatError
from builder.image.manifests import make_descriptor
from builder.publish.attachments import WRONG, Artifact
from builder.publish.attest.attached import attach_statement, attached_kinds
from builder.publish.attest.bundle import (
    BUNDLE_TYPE,
    PREDICATE_ANNOTATION,
    envelope_of,
    make_bundle,
    open_bundle,
    open_envelope,
    rewrite_envelope,
    sign_envelope,
)
from builder.publish.attest.simple_signing import ImageSignature, is_signed_as, make_payload
from builder.publish.export import media_type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from builder.errors import KmodsmithError
    from builder.image.manifests import Entry
    from builder.publish.attachments import Attachments, AttachmentWriter
    from builder.publish.attest.attached import AttachedStatement
    from builder.publish.attest.bundle import Statement
    from builder.publish.publishable import Statements
    from builder.pullspec import Pullspec
    from builder.signing.image_key import OpenImageSigner
    from builder.signing.public_key import PublicKey

_CREATED = "org.opencontainers.image.created"
_CONTENT = "dev.sigstore.bundle.content"
# Strangers can list what they want, and each is fetched.
_MOST_READ = 50


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
        """Add the signatures and statements that an image does not have; see ``find_lack`` and ``add``."""
        return self.add(image, manifest, self.find_lack(image, identities, predicates), state)

    def add(self, image: Pullspec, manifest: bytes, lack: Lack, state: Callable[[], Statements]) -> int:
        """Add what an image lacks; returns how many signatures and statements that are.

        Args:
            image: by digest; it must be in its repository.
            manifest: of it.
            lack: what it lacks.
            state: gives its statements; called if need be.

        Raises:
            SourceError: a registry refused, or gave no answer.
            SignerError: the key does not sign.
        """
        if lack.names:
            payloads = [make_payload(name, image.reference) for name in lack.names]
            self._attachments.add_signatures(image, [(payload, self._sign_payload(payload)) for payload in payloads])
        envelopes, made = dict(lack.known), ""
        if lack.unstated:
            statements = state()
            made = statements.made
            signed = {kind: sign_envelope(statements.by_kind[kind], self._signer.sign) for kind in lack.unstated}
            envelopes |= signed
        if lack.bundles:
            subject = make_descriptor(media_type_of(manifest), image.reference, len(manifest))
            artifacts = [self._make_artifact(kind, envelopes[kind], made) for kind in lack.bundles]
            self._attachments.add(image, subject, artifacts)
        if lack.attached:
            new = [(envelopes[kind], attach_statement(kind, envelopes[kind])) for kind in lack.attached]
            self._attachments.add_attestations(image, new)
        return len(lack.names) + len(lack.bundles) + len(lack.attached)

    def find_lack(self, image: Pullspec, identities: Sequence[str], predicates: Collection[str]) -> Lack:
        """Look what an image lacks.

        Args:
            image: by digest.
            identities: full names with tags that it has or gets.
            predicates: kinds of statements that it must have.

        Raises:
            SourceError: a registry refused, or gave no answer.
        """
        keys = [self._signer.key]
        there = self._attachments.signatures(image)
        names = [name for name in identities if not is_signed_as(there, name, image.reference, keys)]
        referrers = self._attachments.referrers(image) if predicates else []
        bundled = read_bundled(self._attachments, image, referrers, keys)
        wanted = attached_kinds(predicates)
        listed = self._attachments.attestations(image) if wanted else []
        known: dict[str, bytes] = {}
        attached = []
        for kind in predicates:
            found = bundled.get(kind) or read_attached(self._attachments, image, listed, kind, keys).signed
            envelopes = [item.envelope for item in found]
            there_too = [item for item in envelopes if attach_statement(kind, item) in listed]
            if envelopes:
                known[kind] = (there_too or envelopes)[0]
            if kind in wanted and not there_too:
                attached.append(kind)
        return Lack(
            names=names,
            bundles=[kind for kind in predicates if kind not in bundled],
            attached=attached,
            unstated=[kind for kind in predicates if kind not in known],
            known=known,
        )

    def _sign_payload(self, payload: bytes) -> ImageSignature:
        return ImageSignature(sha256_of(payload), len(payload), self._signer.sign(payload))

    def _make_artifact(self, kind: str, envelope: bytes, made: str) -> Artifact:
        annotations = {_CONTENT: "dsse-envelope", PREDICATE_ANNOTATION: kind} | ({_CREATED: made} if made else {})
        return Artifact(kind=BUNDLE_TYPE, content=make_bundle(envelope, self._signer.key), annotations=annotations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """What an image lacks: names that it is not signed for, kinds of statements that it does not have.

    ``bundles`` are those that it does not have as bundles, ``attached`` those that are not attached by themselves, and
    ``unstated`` those that it has in neither form. Of others, ``known`` has the envelope, by kind: who published an
    image before there were two forms signed all that is needed for the other one.
    """

    names: Sequence[str]
    bundles: Sequence[str]
    attached: Sequence[str]
    unstated: Sequence[str]
    known: Mapping[str, bytes]

    @property
    def unproven(self) -> list[str]:
        """What only who knows the proof of the image can give it, in words; a statement in one form is none of it."""
        return [*(f"a signature for {name}" for name in self.names), *(f"a statement {kind}" for kind in self.unstated)]


def bundles_of(referrers: Sequence[Entry], predicate: str) -> list[Entry]:
    """Return the referrers that say that they are bundles of a kind of statement."""
    return [
        entry
        for entry in referrers
        if entry.artifact_type == BUNDLE_TYPE and entry.annotations.get(PREDICATE_ANNOTATION) == predicate
    ]


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement that one of the keys signed, and its envelope in our form."""

    envelope: bytes
    statement: Statement


def read_bundled(
    attachments: Attachments, image: Pullspec, referrers: Sequence[Entry], keys: Sequence[PublicKey]
) -> dict[str, list[SignedStatement]]:
    """Return what one of the keys states about an image in its bundles, by kind; others are passed over."""
    found: dict[str, list[SignedStatement]] = {}
    for entry in referrers:
        if entry.artifact_type != BUNDLE_TYPE:
            continue
        try:
            bundle = attachments.blob(image, entry)
            statement = open_bundle(bundle, keys)
        except WRONG:
            continue  # somebody else's, or damaged: ours is added beside it
        if image.reference in statement.subjects.values():
            found.setdefault(statement.predicate_type, []).append(SignedStatement(envelope_of(bundle), statement))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedFinding:
    """What one of the keys signed, of what is attached by itself; ``problem``: what of it could not be read."""

    signed: Sequence[SignedStatement] = ()
    problem: KmodsmithError | None = None


def read_attached(
    attachments: Attachments, image: Pullspec, listed: Sequence[AttachedStatement], kind: str, keys: Sequence[PublicKey]
) -> AttachedFinding:
    """Return what one of the keys states about an image in what is listed as of a kind; others are passed over."""
    signed = []
    problem: KmodsmithError | None = None
    for item in [item for item in listed if item.kind == kind][:_MOST_READ]:
        try:
            content = attachments.envelope(image, item)
        except WRONG as error:
            problem = error
            continue
        with suppress(FormatError):
            statement = open_envelope(content, keys)
            if image.reference in statement.subjects.values() and statement.predicate_type == kind:
                signed.append(SignedStatement(rewrite_envelope(content), statement))
    return AttachedFinding(signed=signed, problem=problem)
