"""An image of the container store as it will be in a registry: its manifest, and where each of its blobs comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.foreign import read_json
from builder.image.contents import export_image
from builder.image.manifests import OCI_MANIFEST
from builder.image.packed import pack_image, pack_layer

if TYPE_CHECKING:
    from pathlib import Path

    from builder.image.packed import PackedImage, Packing


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedImage:
    """A manifest, and its own blobs as files of a folder, made when they are asked for; see ``PackedImage``."""

    folder: Path
    packed: PackedImage

    def file(self, blob: str) -> Path:
        """Return a file with an own blob: the configuration, or a layer, which is packed now."""
        plain = self.packed.own.get(blob)
        if plain is None:
            return self.folder / blob.removeprefix("sha256:")
        target = self.folder / f"{blob.removeprefix('sha256:')}.packed"
        with target.open("wb") as stream:
            stream.writelines(pack_layer(plain))
        return target


def export_stored(image: str, folder: Path, packing: Packing) -> ExportedImage:
    """Export an image in the form that has the same digest wherever it is packed.

    Raises:
        FormatError: what was exported is no image.
    """
    export_image(image, folder)
    return ExportedImage(folder=folder, packed=pack_image(folder, packing))


def media_type_of(manifest: bytes) -> str:
    return str(read_json(manifest, "the manifest").get("mediaType") or OCI_MANIFEST)
