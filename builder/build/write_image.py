"""Stage assemble without buildah: the final image of the known last stage, written into a folder.

What is proven and booted is what lies in the folder. The store gets it only then, and by its digests says that it has
the very same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.digest import sha256_of
from builder.image.manifests import OCI_MANIFEST, dump, make_descriptor
from builder.store.images import IMPORT_NAME
from builder.store.last_stage import describe, write_layer

if TYPE_CHECKING:
    from pathlib import Path

    from builder.store.last_stage import StoredBase, Wanted
    from builder.store.result import CompileResult

_LAYOUT = {"imageLayoutVersion": "1.0.0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenImage:
    """An OCI layout that lacks the layers of its base; ``id`` is its image's in the store."""

    id: str
    folder: Path

    @property
    def blobs(self) -> Path:
        """A folder with the image's parts by digest, and its manifest also by the name that ``dir:`` has for it."""
        return self.folder / "blobs" / "sha256"


def name_folder(key: str, run: str) -> str:
    """Return how a cell's folder is called: in the store, the image has that name until it gets its own."""
    return f"{IMPORT_NAME}-{key}-{run}".lower()


def write_image(folder: Path, result: CompileResult, base: StoredBase, wanted: Wanted) -> WrittenImage:
    """Write an image into a new folder."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    unnamed = blobs / "layer"
    with unnamed.open("xb") as stream:
        layer = write_layer(result, stream.write)
    unnamed.rename(blobs / layer.digest.removeprefix("sha256:"))
    config, manifest = describe(base, wanted, layer)
    image_id = sha256_of(config).removeprefix("sha256:")
    (blobs / image_id).write_bytes(config)
    digest = sha256_of(manifest)
    for name in (digest.removeprefix("sha256:"), "manifest.json"):
        (blobs / name).write_bytes(manifest)
    index = {"schemaVersion": 2, "manifests": [make_descriptor(OCI_MANIFEST, digest, len(manifest))]}
    (folder / "index.json").write_bytes(dump(index))
    (folder / "oci-layout").write_bytes(dump(_LAYOUT))
    return WrittenImage(id=image_id, folder=folder)
