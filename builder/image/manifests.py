"""Artefacts that belong to an image: manifests with a subject, and the lists that name them.

Format: OCI image-spec 1.1 (manifest, guidelines for artefacts) and distribution-spec 1.1 (referrers, tag schema). Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from builder.digest import sha256_of
from builder.errors import FormatError
from builder.foreign import Parsed, parse_data, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
MOST_REFERRERS = 10_000


def dump(data: object) -> bytes:
    """Return JSON in one form, so that equal data has an equal digest."""
    return json.dumps(data, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def make_descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def make_artifact(
    artifact_type: str, content: bytes, *, subject: Mapping[str, Any] | None, annotations: Mapping[str, str]
) -> bytes:
    """Return the manifest of an artefact with one blob that is about ``subject`` (a descriptor), where there is one."""
    return dump(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": make_descriptor(EMPTY_TYPE, sha256_of(EMPTY), len(EMPTY)),
            "layers": [make_descriptor(artifact_type, sha256_of(content), len(content))],
            **({"subject": dict(subject)} if subject else {}),
            "annotations": dict(annotations),
        }
    )


def make_list_image(layers: Sequence[Mapping[str, Any]]) -> tuple[bytes, bytes]:
    """Return manifest and configuration of an image that is a list: its layers (descriptors) are no archives.

    Engines want as many entries in its ``rootfs`` as there are layers.
    """
    diff_ids = [layer["digest"] for layer in layers]
    config = dump({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": make_descriptor(OCI_CONFIG, sha256_of(config), len(config)),
        "layers": [dict(layer) for layer in layers],
    }
    return dump(manifest), config


def referrer_of(manifest: bytes) -> dict[str, Any]:
    """Return the descriptor by which lists of referrers name an artefact (distribution-spec, listing referrers).

    Raises:
        FormatError: it is no manifest of an artefact.
    """
    artifact = parse_artifact(manifest)
    own = make_descriptor(OCI_MANIFEST, sha256_of(manifest), len(manifest))
    return own | {"artifactType": artifact.kind, "annotations": artifact.annotations}


def referrers_tag(digest: str) -> str:
    """Return the tag that lists an image's referrers where a registry has no list of its own."""
    return digest.replace(":", "-")


def make_index(entries: Sequence[Mapping[str, Any]], annotations: Mapping[str, str] | None = None) -> bytes:
    index: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [dict(item) for item in entries]}
    return dump(index | ({"annotations": dict(annotations)} if annotations else {}))


class Entry(Parsed):
    """A descriptor in an index."""

    media_type: str = Field(default=OCI_MANIFEST, alias="mediaType", pattern=r"^[!-~]{1,255}$")
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    artifact_type: str = Field(default="", alias="artifactType")
    annotations: dict[str, str] = Field(default_factory=dict)
    platform: dict[str, Any] | None = None


class _Index(Parsed):
    manifests: Annotated[list[Entry], Field(max_length=MOST_REFERRERS)]


class _OpenIndex(Parsed):
    manifests: Annotated[list[Any], Field(max_length=MOST_REFERRERS)]

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [item for item in self.manifests if isinstance(item, dict)]


def parse_index(content: bytes) -> list[Entry]:
    """Return the descriptors of an index.

    Raises:
        FormatError: it is none, or longer than it may be.
    """
    return parse_json(_Index, content, "list of manifests").manifests


def parse_open_index(content: bytes) -> list[Entry]:
    """Return the descriptors of an index that anybody may add to: what is no descriptor in it is passed over.

    Raises as ``parse_index`` where it is no list at all.
    """
    return [entry for item in list_objects(content) for entry in _entries_of(item)]


def list_objects(content: bytes) -> list[dict[str, Any]]:
    """Return the objects of an open index as they are, for who adds one and loses none; raises as ``parse_index``."""
    return parse_json(_OpenIndex, content, "list of manifests").objects


def _entries_of(item: object) -> list[Entry]:
    try:
        return [parse_data(Entry, item, "descriptor")]
    except FormatError:
        return []


class ArtifactManifest(Parsed):
    """The manifest of an image or of an artefact: what it is about, its annotations, and its blobs."""

    artifact_type: str = Field(default="", alias="artifactType")
    subject: Entry | None = None
    config: Entry | None = None
    annotations: dict[str, str] = Field(default_factory=dict)
    layers: Annotated[list[Entry], Field(max_length=MOST_REFERRERS)]

    @property
    def kind(self) -> str:
        """What lists of referrers say that it is (distribution-spec 1.1, listing referrers)."""
        return self.artifact_type or (self.config.media_type if self.config else "")


def parse_artifact(content: bytes) -> ArtifactManifest:
    """Return the manifest of an artefact; raises as ``parse_index`` does."""
    return parse_json(ArtifactManifest, content, "manifest of an artefact")
