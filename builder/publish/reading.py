"""Registries as verbs look into them: what a name stands for, of which inputs it was made, and whether it is signed."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.config.model.registry import RegistrySettings
from builder.digest import sha256_of
from builder.errors import FormatError, SourceError
from builder.image.labels import KEY_LABEL
from builder.image.manifests import OCI_INDEX, OCI_MANIFEST
from builder.publish.attachments import Attachments
from builder.publish.attest.simple_signing import is_signed_as
from builder.registry.access import open_registries
from builder.registry.manifest import MANIFEST_TYPES
from builder.registry.tags import Tags
from builder.signing.image_key import read_image_key
from builder.sources.openshift.payload import parse_labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.plan.project import Project
    from builder.pullspec import Pullspec
    from builder.registry.reader import Registry
    from builder.signing.public_key import PublicKey


@dataclass(frozen=True, slots=True)
class TaggedImage:
    """What a tag stands for: manifest, digest, media type, and the key of what it is made of; empty where it has none.

    ``is_list``: it stands for images of several architectures.
    """

    content: bytes
    digest: str
    media_type: str
    key: str
    is_list: bool = False


def read_tag(registry: Registry, tags: Tags, name: Pullspec) -> TaggedImage | None:
    """Return what a tag stands for now; None only if the registry says that there is no such tag.

    Raises:
        SourceError: refused, or no answer.
        FormatError: what is there is no image.
    """
    content = tags.read_manifest(name)
    if content is None:
        return None
    registry.remember(content)
    manifest = registry.manifest(name.at(sha256_of(content)))
    key = manifest.annotations.get(KEY_LABEL, "")
    if not key and manifest.config is not None:
        config = registry.blob(name, manifest.config)
        try:
            key = parse_labels(config)[0].get(KEY_LABEL, "")
        except FormatError as error:
            raise FormatError(f"{name}: {error.message}") from None
    media_type = manifest.media_type or (OCI_INDEX if manifest.is_index else OCI_MANIFEST)
    if media_type not in MANIFEST_TYPES:
        raise FormatError(f"{name}: it says that it is {media_type[:100]!r}, which is no image")
    return TaggedImage(content, manifest.digest, media_type, key, manifest.is_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryReader:
    """Looks into registries without the right to write; ``keys`` is empty where images are not signed."""

    registry: Registry
    tags: Tags
    attachments: Attachments
    keys: Sequence[PublicKey]

    def read_tag(self, name: Pullspec) -> TaggedImage | None:
        """Return what a tag stands for; None and errors are those of ``read_tag``."""
        return read_tag(self.registry, self.tags, name)

    def find(self, name: Pullspec) -> tuple[Pullspec, TaggedImage] | None:
        """Return what a name stands for and where: at the first of its mirrors that has it, or where it is from.

        None only if every place says that it has no such tag. Errors are those of ``read_tag``.
        """
        problem: SourceError | None = None
        for place in self.registry.places(name):
            try:
                found = self.read_tag(place)
            except SourceError as error:
                problem = problem or error
                continue
            if found is not None:
                return place, found
        if problem is not None:
            raise problem
        return None

    def is_signed(self, place: Pullspec, digest: str, *, name: Pullspec | None = None) -> bool:
        """Tell whether an image is signed for a name, as versions.yaml wants it; always, where it wants nothing.

        Args:
            place: where the image is.
            digest: of it.
            name: what is signed, where ``place`` is a mirror of it.

        Errors are those of ``read_tag``.
        """
        if not self.keys:
            return True
        return is_signed_as(self.attachments.signatures(place.at(digest)), str(name or place), digest, self.keys)


@contextmanager
def open_reader(project: Project) -> Iterator[RegistryReader]:
    """Open what versions.yaml says of registries and of the signer of images.

    Raises:
        UsageError: a file of pull secrets is not one.
        SignerError: the public key cannot be read.
    """
    key = read_image_key(project.config)
    registry = open_registries(project.config.registry, project.file.parent, project.cache_dir).registry
    with closing(registry):
        tags = Tags(registry.transport)
        yield RegistryReader(
            registry=registry,
            tags=tags,
            attachments=Attachments(registry, tags),
            keys=[key] if key else [],
        )


def settings_for(project: Project, host: str, *, plain_http: bool) -> RegistrySettings:
    """Return registry settings for who may have no versions.yaml; with ``plain_http``, without TLS for one host."""
    settings = project.config.registry if project.file.is_file() else RegistrySettings()
    settings = settings.forget_secrets() if project.untrusted else settings
    return settings.without_tls(host) if plain_http else settings
