"""Air gap: published images with their signatures and attestations in one file, and out of it into another registry.

The file is a tar archive with an OCI image layout (image-spec, image-layout.md), so that other tools can read it, too:
``skopeo copy oci-archive:FILE:NAME ...``. Nothing in it is changed on the way; digests stay what they were. What is
read from a file may be hostile: paths are known beforehand, and every blob is compared with its digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import re
import tarfile
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from builder.digest import sha256_of
from builder.errors import FormatError, SourceError, UsageError
from builder.host.progress import no_progress
from builder.image.archive import BROKEN, read_tar
from builder.image.manifests import OCI_INDEX, OCI_MANIFEST, make_descriptor, make_index, parse_artifact, parse_index
from builder.publish.attachments import WRONG
from builder.publish.attest.attached import attestation_tag, make_attestation_image, parse_attestation_image
from builder.publish.attest.simple_signing import make_signature_image, parse_signature_image, signature_tag
from builder.publish.index_document import INDEX_TAG, read_made
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from builder.host.progress import Progress
    from builder.image.archive import Content
    from builder.image.manifests import Entry
    from builder.publish.attachments import Attachments, AttachmentWriter
    from builder.publish.index_place import TaggedIndex
    from builder.pullspec import Pullspec
    from builder.registry.manifest import Descriptor
    from builder.registry.reader import Registry
    from builder.registry.writer import Uploader

_log = logging.getLogger(__name__)

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_NAME = "org.opencontainers.image.ref.name"
_ROLE = "io.kmodsmith.bundle.role"
_OF = "io.kmodsmith.bundle.of"
_MEMBER = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_LARGEST_BLOB = 8 * 1024**3
_LARGEST_JSON = 8 * 1024**2
_MOST_BLOBS = 200_000
_CHUNK = 1024**2


class Role(StrEnum):
    """What an entry of the index is."""

    IMAGE = "image"
    LIST = "list"
    SIGNATURES = "signatures"
    ATTESTATION = "attestation"
    """An artefact that refers to an image."""
    STATEMENTS = "statements"
    """A list of what is stated of an image, for those who read no artefacts."""
    INDEX = "index"
    """A driver's signed index: under a name of its own, and under the one that moves."""


_NAMED = frozenset({Role.IMAGE, Role.LIST, Role.INDEX})
"""What people know by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleReport:
    """What was written: full names with digests, and how many blobs with how many bytes."""

    file: str
    images: tuple[tuple[str, str], ...]
    blobs: int
    size: int


class LoadStatus(StrEnum):
    LOADED = "loaded"
    THERE = "there"
    CONFLICT = "conflict"
    """The name stands for another image, and final tags are never moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One name in the other registry."""

    name: str
    digest: str
    status: LoadStatus
    why: str = ""


class AirgapWriter:
    """Collects images and writes them. Blobs lie in a folder until then, each once.

    Args:
        registry: reads, and checks digests.
        attachments: reads signatures and attestations.
        folder: for blobs; what is in it already is not read again.
    """

    def __init__(self, registry: Registry, attachments: Attachments, folder: Path) -> None:
        self._registry = registry
        self._attachments = attachments
        self._folder = folder
        self._entries: list[dict[str, Any]] = []
        self._blobs: dict[str, int] = {}

    def add(self, name: Pullspec, digest: str) -> None:
        """Add an image, or a list with its images, under a name, with all that is attached to it.

        Raises:
            SourceError: a registry refuses, does not answer, or does not have a part.
        """
        image = name.at(digest)
        manifest = self._registry.manifest(image)
        if manifest.is_index:
            content = self._registry.manifest_bytes(image)
            for entry in parse_index(content):
                self._add_image(image.at(entry.digest))
                self._add_attached(image.at(entry.digest))
            self._add_entry(image, content, OCI_INDEX, Role.LIST, name=str(name))
        else:
            self._add_image(image, name=str(name))
        self._add_attached(image)

    def add_index(self, name: Pullspec, item: TaggedIndex) -> None:
        """Add a driver's index under both of its names. Errors are those of ``add``."""
        for tag in (item.index.tag, INDEX_TAG):
            self._add_whole(name.at(item.digest), name.at(item.digest), Role.INDEX, name=str(name.at(tag)))

    def _add_image(self, image: Pullspec, *, name: str = "") -> None:
        self._add_whole(image, image, Role.IMAGE, name=name)

    def _add_attached(self, image: Pullspec) -> None:
        """Add the lists that belong to an image, without what strangers listed there that is none or cannot be had."""
        signatures = self._attachments.signatures(image)
        kept = [item for item in signatures if self._keep(image, partial(self._attachments.payload, image, item))]
        if kept:
            place = image.at(signature_tag(image.reference))
            self._add_list(image, make_signature_image(kept), Role.SIGNATURES, name=str(place))
        listed = self._attachments.attestations(image)
        stated = [item for item in listed if self._keep(image, partial(self._attachments.envelope, image, item))]
        if stated:
            place = image.at(attestation_tag(image.reference))
            self._add_list(image, make_attestation_image(stated), Role.STATEMENTS, name=str(place))
        for entry in self._attachments.referrers(image):
            try:
                self._attachments.read_artifact(image, entry)
                self._add_whole(image.at(entry.digest), image, Role.ATTESTATION)
            except WRONG as error:
                _log.warning("%s: %s refers to it, and is left out: %s", image, entry.digest, error.message)

    def _keep(self, image: Pullspec, read: Callable[[], bytes]) -> bool:
        """Keep a small blob that is listed, and tell whether it can be had."""
        try:
            self._write_blob(read())
        except WRONG as error:
            _log.warning("%s: something that is attached to it is left out: %s", image, error.message)
            return False
        return True

    def _add_list(self, image: Pullspec, made: tuple[bytes, bytes], role: Role, *, name: str) -> None:
        manifest, config = made
        self._write_blob(config)
        self._add_entry(image, manifest, OCI_MANIFEST, role, name=name)

    def _write_blob(self, content: bytes) -> str:
        """Keep a small blob; returns its digest."""
        digest = sha256_of(content)
        blob = digest.removeprefix("sha256:")
        (self._folder / blob).write_bytes(content)
        self._blobs[blob] = len(content)
        return digest

    def _add_whole(self, place: Pullspec, image: Pullspec, role: Role, *, name: str = "") -> None:
        """Add a manifest with all its blobs; ``image`` is what it is, or belongs to."""
        manifest = self._registry.manifest(place)
        for descriptor in (manifest.config, *manifest.layers):
            if descriptor is not None:
                self._save(place, descriptor)
        content = self._registry.manifest_bytes(place)
        self._add_entry(image, content, manifest.media_type or OCI_MANIFEST, role, name=name)

    def _save(self, image: Pullspec, descriptor: Descriptor) -> None:
        file = self._folder / descriptor.digest.removeprefix("sha256:")
        if not file.is_file():
            partial = file.with_suffix(".part")
            self._registry.save_blob(image, descriptor, partial, largest=_LARGEST_BLOB)
            partial.replace(file)
        self._blobs[file.name] = file.stat().st_size

    def _add_entry(self, image: Pullspec, content: bytes, media_type: str, role: Role, *, name: str = "") -> None:
        digest = self._write_blob(content)
        annotations = {_ROLE: str(role), _OF: str(image)} | ({_NAME: name} if name else {})
        entry = make_descriptor(media_type, digest, len(content)) | {"annotations": annotations}
        if entry not in self._entries:
            self._entries.append(entry)

    def write(self, target: Path) -> BundleReport:
        """Write the archive; equal content gives an equal file, and a file that is there is whole.

        Raises:
            UsageError: the file cannot be written.
        """
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
                _add_bytes(archive, "oci-layout", _LAYOUT)
                _add_bytes(archive, "index.json", make_index(self._entries))
                for name, size in sorted(self._blobs.items()):
                    with (self._folder / name).open("rb") as stream:
                        archive.addfile(_member(f"blobs/sha256/{name}", size), stream)
            partial.replace(target)
        except OSError as error:
            raise UsageError(f"{target} cannot be written: {error.strerror}") from None
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        named = [
            (item["annotations"][_NAME], item["digest"])
            for item in self._entries
            if _NAME in item["annotations"] and item["annotations"][_ROLE] in _NAMED
        ]
        return BundleReport(
            file=str(target), images=tuple(named), blobs=len(self._blobs), size=sum(self._blobs.values())
        )


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_member(name, len(content)), io.BytesIO(content))


class AirgapLoader:
    """Brings a bundle into another registry.

    Args:
        uploader: writes.
        attachments: adds signatures to those that are there.
        folder: for blobs of the bundle.
    """

    def __init__(self, uploader: Uploader, attachments: AttachmentWriter, folder: Path) -> None:
        self._uploader = uploader
        self._attachments = attachments
        self._folder = folder

    def load(self, file: Path, target: str, *, progress: Progress = no_progress) -> list[Loaded]:
        """Bring everything into the registry below ``target``; names come last, and none is ever moved.

        Args:
            file: a bundle.
            target: registry, or registry and the beginning of repositories; the repository's own name is put behind.
            progress: is told how many parts are there.

        Raises:
            FormatError: it is no bundle, or damaged.
            SourceError: the registry refuses, or gives no answer.
        """
        entries = _unpack(file, self._folder)
        order = list(Role)
        entries.sort(key=lambda entry: order.index(_role(entry, file)))
        for number, entry in enumerate(entries, start=1):
            self._bring(entry, _role(entry, file), _place(entry.annotations.get(_OF, ""), target))
            progress(number, len(entries))
        return [
            self._name(entry, _place(entry.annotations[_NAME], target), _role(entry, file))
            for entry in entries
            if _NAME in entry.annotations and _role(entry, file) in _NAMED
        ]

    def _bring(self, entry: Entry, role: Role, image: Pullspec) -> None:
        content = _read(self._folder, entry.digest)
        if role is not Role.LIST:
            parsed = parse_artifact(content)
            parts = [*([parsed.config] if parsed.config else []), *parsed.layers]
            for digest in dict.fromkeys(part.digest for part in parts):
                self._uploader.send_blob(image, digest, _blob(self._folder, digest))
        if role in _NAMED:
            self._uploader.send_manifest(image.at(entry.digest), content, entry.media_type)
        elif role is Role.SIGNATURES:
            signatures = parse_signature_image(content)
            self._attachments.add_signatures(
                image, [(_read(self._folder, item.payload_digest), item) for item in signatures]
            )
        elif role is Role.STATEMENTS:
            statements = parse_attestation_image(content)
            self._attachments.add_attestations(image, [(_read(self._folder, item.digest), item) for item in statements])
        else:
            self._attachments.add_manifests(image, [content])

    def _name(self, entry: Entry, place: Pullspec, role: Role) -> Loaded:
        result = Loaded(name=str(place), digest=entry.digest, status=LoadStatus.LOADED)
        there = self._uploader.tags.resolve(place)
        if there == entry.digest:
            return replace(result, status=LoadStatus.THERE)
        if role is Role.INDEX and place.reference == INDEX_TAG:
            if there is not None and (kept := self._keep_newer(entry, place)):
                status, why = kept
                return replace(result, status=status, why=why)
        elif there is not None:
            why = f"it stands for {there}, and the bundle has {entry.digest}: final tags are never moved"
            return replace(result, status=LoadStatus.CONFLICT, why=why)
        self._uploader.send_manifest(place, _read(self._folder, entry.digest), entry.media_type)
        if (now := self._uploader.tags.resolve(place)) != entry.digest:
            raise SourceError(f"{place} stands for {now} after it was written")
        return result

    def _keep_newer(self, entry: Entry, place: Pullspec) -> tuple[LoadStatus, str] | None:
        """Say why the tag that moves does not move to the bundle's index; None where it does.

        Signatures are for operators to verify, and for 'verify': here there is no key.
        """
        new = _time_of(self._uploader, place.at(entry.digest))
        try:
            there = _time_of(self._uploader, place)
        except FormatError as error:
            return LoadStatus.CONFLICT, f"it stands for something that is no index: {error.message}"
        why = f"it stands for an index of {there:%Y-%m-%d %H:%M:%S} UTC, which is newer than that of the bundle"
        return (LoadStatus.THERE, why) if there > new else None


def _time_of(uploader: Uploader, place: Pullspec) -> datetime:
    """Return when the index was made that a name stands for, as its manifest says."""
    return read_made(uploader.tags.read_manifest(place) or b"")


def _role(entry: Entry, file: Path) -> Role:
    try:
        return Role(entry.annotations.get(_ROLE, ""))
    except ValueError:
        raise FormatError(f"{file}: its entry {entry.digest} was not written by 'bundle'") from None


def _place(name: str, target: str) -> Pullspec:
    """Return where an image goes: below the target, under its own repository's name."""
    own = parse_pullspec(name)
    return replace(parse_pullspec(f"{target}/{own.repository}:x"), reference=own.reference)


def _unpack(file: Path, folder: Path) -> list[Entry]:
    """Write a bundle's blobs into a folder, each compared with its digest, and return its index."""
    index: list[Entry] | None = None
    try:
        with file.open("rb") as stream:
            for number, (member, content) in enumerate(read_tar(stream, most=file.stat().st_size, may_be_packed=False)):
                if not member.isreg() or number > _MOST_BLOBS or content.size > _LARGEST_BLOB:
                    raise FormatError(f"{file}: {member.name[:200]} belongs into no bundle")
                if member.name == "index.json" and content.size <= _LARGEST_JSON:
                    index = parse_index(content.read_all())
                elif match := _MEMBER.fullmatch(member.name):
                    _unpack_blob(content, folder / match[1], file)
                elif member.name != "oci-layout":
                    raise FormatError(f"{file}: {member.name[:200]} belongs into no bundle")
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error.strerror}") from None
    except BROKEN as error:
        raise FormatError(f"{file} is no bundle: {error}") from None
    if index is None:
        raise FormatError(f"{file} is no bundle: it has no index.json")
    return index


def _unpack_blob(content: Content, target: Path, file: Path) -> None:
    hasher = hashlib.sha256()
    with target.open("wb") as out:
        while chunk := content.read(_CHUNK):
            hasher.update(chunk)
            out.write(chunk)
    if hasher.hexdigest() != target.name:
        raise FormatError(f"{file} is damaged: blob {target.name} has other content")


def _blob(folder: Path, digest: str) -> Path:
    blob = folder / digest.removeprefix("sha256:")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not blob.is_file():
        raise FormatError(f"the bundle does not have blob {digest[:80]}")
    return blob


def _read(folder: Path, digest: str) -> bytes:
    blob = _blob(folder, digest)
    if blob.stat().st_size > _LARGEST_JSON:
        raise FormatError(f"the bundle's {digest} is larger than a manifest may be")
    return blob.read_bytes()


def check_target(target: str) -> str:
    """Return where a bundle is loaded to, if it can be such a place.

    Raises:
        UsageError: it is no registry.
    """
    try:
        parse_pullspec(f"{target}/name:tag")
    except FormatError:
        raise UsageError(
            f"{target!r} is no registry", hint="such as registry.example:5000, or registry.example:5000/mirror"
        ) from None
    return target
