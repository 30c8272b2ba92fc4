"""An image of the container store as it will be in a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.digest import sha256_of
from builder.errors import FormatError
from builder.foreign import read_json
from builder.image.contents import export_image
from builder.image.manifests import OCI_MANIFEST

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedImage:
    """A manifest, and its blobs as files of a folder."""

    folder: Path
    manifest: bytes
    media_type: str
    blobs: tuple[str, ...]

    @property
    def digest(self) -> str:
        return sha256_of(self.manifest)

    def file(self, blob: str) -> Path:
        return self.folder / blob.removeprefix("sha256:")


def export_stored(image: str, folder: Path) -> ExportedImage:
    """Export an image without packing its layers, so that its digest is the same in the store and in every registry.

    Raises:
        FormatError: what was exported has no manifest.
    """
    export_image(image, folder)
    manifest = (folder / "manifest.json").read_bytes()
    try:
        data = read_json(manifest, "it")
        blobs = [data["config"]["digest"], *(layer["digest"] for layer in data["layers"])]
    except (KeyError, TypeError, FormatError) as error:
        raise FormatError(f"{image}: what buildah exported has no manifest: {error!r}") from None
    return ExportedImage(
        folder=folder,
        manifest=manifest,
        media_type=media_type_of(manifest),
        blobs=tuple(dict.fromkeys(blobs)),
    )


def media_type_of(manifest: bytes) -> str:
    return str(read_json(manifest, "the manifest").get("mediaType") or OCI_MANIFEST)
