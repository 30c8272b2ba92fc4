"""What registries hold about an image: signatures under a tag ``.sig``, statements under a tag ``.att``, and bundles.

Bundles are artefacts that refer to it; registries without a list of referrers get one under a tag (distribution-spec
1.1, referrers tag schema). All these tags are lists that several machines may add to, so each addition is read back,
and done again where it got lost.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from builder.digest import sha256_of
from builder.errors import DamagedError, FormatError, SourceGoneError, SourceUnreachableError
from builder.host.once import Once
from builder.image.manifests import (
    EMPTY,
    MOST_REFERRERS,
    OCI_INDEX,
    OCI_MANIFEST,
    list_objects,
    make_artifact,
    make_index,
    parse_artifact,
    parse_open_index,
    referrer_of,
    referrers_tag,
)
from builder.publish.attest.attached import attestation_tag, make_attestation_image, parse_attestation_image
from builder.publish.attest.simple_signing import make_signature_image, parse_signature_image, signature_tag
from builder.registry.manifest import Descriptor
from builder.registry.tags import LARGEST_ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from builder.image.manifests import ArtifactManifest, Entry
    from builder.publish.attest.attached import AttachedStatement
    from builder.publish.attest.simple_signing import ImageSignature
    from builder.pullspec import Pullspec
    from builder.registry.reader import Registry
    from builder.registry.tags import Tags
    from builder.registry.writer import Uploader

_log = logging.getLogger(__name__)

_TRIES = 5
WRONG = (FormatError, DamagedError, SourceGoneError)
"""Errors that say that what is attached is wrong; every other error means that nothing is known of it."""
_T = TypeVar("_T")
_C = TypeVar("_C", bytes, bytes | None)


class OccupiedError(FormatError):
    """Where a list belongs that is attached to an image stands something else, or a list that nothing fits into.

    It may be somebody's, so nothing is written over it: who may remove it has to do so.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Something to attach to an image: its type, its one blob, and its annotations."""

    kind: str
    content: bytes
    annotations: Mapping[str, str]


class Attachments:
    """Reads what is attached to images; every image is named by digest. Safe to use from several threads."""

    def __init__(self, registry: Registry, tags: Tags) -> None:
        self._registry = registry
        self._tags = tags
        self._without_list: set[str] = set()

    def signatures(self, image: Pullspec) -> list[ImageSignature]:
        """Return the signatures of an image, of whoever made them.

        Raises:
            SourceError: refused, or no answer.
            OccupiedError: what is there is no list of signatures, or longer than it may be.
        """
        return self._read_list(image.at(signature_tag(image.reference)), parse_signature_image)

    def payload(self, image: Pullspec, signature: ImageSignature) -> bytes:
        """Return what was signed. Errors are those of ``signatures``."""
        return self._registry.blob(image, Descriptor(signature.payload_digest, signature.payload_size))

    def attestations(self, image: Pullspec) -> list[AttachedStatement]:
        """Return what is listed under an image's ``.att`` tag, of whoever made it.

        Errors are those of ``signatures``.
        """
        return self._read_list(image.at(attestation_tag(image.reference)), parse_attestation_image)

    def envelope(self, image: Pullspec, statement: AttachedStatement) -> bytes:
        """Return an envelope that is listed. Errors are those of ``signatures``."""
        return self._registry.blob(image, Descriptor(statement.digest, statement.size))

    def referrers(self, image: Pullspec) -> list[Entry]:
        """Return what refers to an image, from the registry's own list and from the tag.

        Errors are those of ``signatures``.
        """
        return [*self._listed(image), *self._tagged(image)]

    def _listed(self, image: Pullspec) -> list[Entry]:
        if image.host in self._without_list:
            return []
        content = self._tags.read_referrers(image)
        if content is None:
            self._without_list.add(image.host)
            return []
        try:
            entries = [entry for page in content for entry in parse_open_index(page)]
        except FormatError as error:
            raise OccupiedError(
                f"{image}: of what the registry lists as referring to it, nothing can be told: {error.message}; remove "
                "what is not yours there"
            ) from None
        return [self._read_entry(image, entry) for entry in entries]

    def _read_entry(self, image: Pullspec, entry: Entry) -> Entry:
        """Complete an entry of a registry that does not say what its artefacts are, as distribution-spec wants it.

        What a stranger attached may be anything, also gone: then it stays what it says that it is.
        """
        if entry.annotations:
            return entry
        try:
            artifact = self._artifact(image, entry.digest)
        except WRONG as error:
            _log.debug("%s: %s refers to it, and is passed over: %s", image, entry.digest, error.message)
            return entry
        return entry.model_copy(update={"artifact_type": artifact.kind, "annotations": artifact.annotations})

    def _tagged(self, image: Pullspec) -> list[Entry]:
        if image.host not in self._without_list:
            return []
        return self._read_list(image.at(referrers_tag(image.reference)), parse_open_index)

    def _read_list(self, place: Pullspec, parse: Callable[[bytes], list[_T]]) -> list[_T]:
        content = self._read_place(place)
        return [] if content is None else _at(place, content, parse)

    def _read_place(self, place: Pullspec) -> bytes | None:
        """Return what stands where a list belongs; what is longer than a manifest is none."""
        try:
            return self._tags.read_manifest(place)
        except DamagedError as error:
            raise _occupied(place, "something", error.message) from None

    def blob(self, image: Pullspec, entry: Entry) -> bytes:
        """Return the one blob of an artefact that is about an image. Errors are those of ``signatures``."""
        artifact = self.read_artifact(image, entry)
        if len(artifact.layers) != 1:
            raise FormatError(f"{image}: {entry.digest} is not of one part")
        layer = artifact.layers[0]
        return self._registry.blob(image, Descriptor(layer.digest, layer.size))

    def read_artifact(self, image: Pullspec, entry: Entry) -> ArtifactManifest:
        """Return the manifest of an artefact that is about an image. Errors are those of ``signatures``."""
        artifact = self._artifact(image, entry.digest)
        if artifact.subject is None or artifact.subject.digest != image.reference:
            raise FormatError(f"{image}: {entry.digest} is about something else")
        return artifact

    def _artifact(self, image: Pullspec, digest: str) -> ArtifactManifest:
        content = self._registry.manifest_bytes(image.at(digest))
        try:
            return parse_artifact(content)
        except FormatError as error:
            raise FormatError(f"{image}: {error.message}") from None


class AttachmentWriter(Attachments):
    """Reads and adds what is attached to images. Safe to use from several threads."""

    def __init__(self, registry: Registry, uploader: Uploader) -> None:
        super().__init__(registry, uploader.tags)
        self._uploader = uploader
        self._once = Once()

    def add_signatures(self, image: Pullspec, new: Sequence[tuple[bytes, ImageSignature]]) -> None:
        """Add signatures with their payloads to those that are there. Errors are those of ``signatures``."""
        self._add_layers(image, signature_tag(image.reference), new, parse_signature_image, make_signature_image)

    def add_attestations(self, image: Pullspec, new: Sequence[tuple[bytes, AttachedStatement]]) -> None:
        """Add statements with their envelopes to those that are there. Errors are those of ``signatures``."""
        self._add_layers(image, attestation_tag(image.reference), new, parse_attestation_image, make_attestation_image)

    def _add_layers(
        self,
        image: Pullspec,
        tag: str,
        new: Sequence[tuple[bytes, _T]],
        parse: Callable[[bytes], list[_T]],
        make: Callable[[Sequence[_T], bytes | None], tuple[bytes, bytes]],
    ) -> None:
        for content, _ in new:
            self._uploader.send_content(image, content)

        def extend(there: bytes | None) -> bytes | None:
            known = [] if there is None else parse(there)
            missing = [item for _, item in new if item not in known]
            if not missing:
                return None
            manifest, config = make(missing, there)
            self._uploader.send_content(image, config)
            return manifest

        self._extend(image.at(tag), OCI_MANIFEST, extend)

    def add(self, image: Pullspec, subject: Mapping[str, object], artifacts: Sequence[Artifact]) -> None:
        """Attach artefacts to an image.

        Args:
            image: by digest.
            subject: its descriptor: mediaType, digest, size.
            artifacts: what to attach.

        Raises:
            SourceError: refused, or no answer.
        """
        # Images of one repository share it, and are signed at the same time.
        self._once.get((image.host, image.repository), lambda: self._uploader.send_content(image, EMPTY))
        manifests = []
        for item in artifacts:
            self._uploader.send_content(image, item.content)
            self._registry.remember(item.content)
            manifests.append(make_artifact(item.kind, item.content, subject=subject, annotations=item.annotations))
        self.add_manifests(image, manifests)

    def add_manifests(self, image: Pullspec, manifests: Sequence[bytes]) -> None:
        """Attach artefacts whose blobs are there, by their manifests. Errors are those of ``add``."""
        is_listed = True
        for manifest in manifests:
            is_listed &= self._uploader.send_manifest(image.at(sha256_of(manifest)), manifest, OCI_MANIFEST)
            self._registry.remember(manifest)
        if not is_listed and {sha256_of(item) for item in manifests} - {entry.digest for entry in self._listed(image)}:
            self._without_list.add(image.host)
            self._add_to_tag(image, manifests)

    def _add_to_tag(self, image: Pullspec, manifests: Sequence[bytes]) -> None:
        new = [referrer_of(manifest) for manifest in manifests]

        def extend(there: bytes | None) -> bytes | None:
            listed = [] if there is None else list_objects(there)
            known = {item.get("digest") for item in listed if isinstance(item.get("digest"), str)}
            missing = [item for item in new if item["digest"] not in known]
            if missing and (number := len(listed) + len(missing)) > MOST_REFERRERS:
                raise FormatError(
                    f"its list of referrers would have {number} entries, and nobody reads more than {MOST_REFERRERS}"
                )
            return make_index([*listed, *missing]) if missing else None

        self._extend(image.at(referrers_tag(image.reference)), OCI_INDEX, extend)

    def _extend(self, place: Pullspec, media_type: str, extend: Callable[[bytes | None], bytes | None]) -> None:
        """Write a list that others write, too, until what ``extend`` adds is in it; then it gives None."""
        for attempt in range(_TRIES):
            there = self._read_place(place)
            content = _at(place, there, extend)
            if content is None:
                return
            if len(content) > LARGEST_ANSWER:
                why = f"its list would have {len(content)} bytes, and nobody reads more than {LARGEST_ANSWER}"
                raise _occupied(place, sha256_of(there or b""), why)
            try:
                self._uploader.send_manifest(place, content, media_type, once=True)
            except SourceUnreachableError:  # it may have been written all the same, and again by others since
                self._registry.transport.pause(attempt)
        raise SourceUnreachableError(f"{place}: what is added to it does not stay there")


def _at(place: Pullspec, there: _C, work: Callable[[_C], _T]) -> _T:
    """Read or extend the list that is at a place; what is there is told where that cannot be done."""
    try:
        return work(there)
    except FormatError as error:
        raise _occupied(place, sha256_of(there or b""), error.message) from None


def _occupied(place: Pullspec, found: str, why: str) -> OccupiedError:
    return OccupiedError(
        f"{place} stands for {found}: {why}. It may be somebody's, so nothing is written over it: look at it with "
        f"'skopeo inspect --raw docker://{place}', take out what nobody wants, or remove that tag (the tag alone: what "
        "is deleted by its digest goes from all of its names), and publish again"
    )
