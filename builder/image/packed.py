"""An image as registries get it: our own layers packed, those of its base as they are in the base's own registry.

One digest stands for an image from the build to the node, so it must not depend on who packs: gzip by one version of
libdeflate (pyproject.toml pins it), in pieces of one size, with nothing of clocks and names in it. What it writes is
the same on every processor; that of zlib's many replacements is not. A layer of the base is not packed again: nodes
that have the base have its blobs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import deflate

from builder.digest import is_digest, sha256_of
from builder.errors import FormatError
from builder.foreign import read_json
from builder.host.once import Once
from builder.image.manifests import OCI_MANIFEST, dump
from builder.image.packed_layer import PackedLayer, media_type_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LEVEL = 6
# Each piece is a gzip member of its own (RFC 1952, 2.2: a file is a sequence of members), so that a layer of any size
# takes little memory. Another size gives other digests.
_PIECE = 16 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How the layers of images become blobs; shared by threads. ``kept`` are layers of a base, by their diff id."""

    kept: Mapping[str, PackedLayer] = field(default_factory=dict)
    done: Once = field(default_factory=Once)

    def of(self, diff_id: str, file: Path) -> PackedLayer:
        """Return what a plain layer becomes; images share layers, and each is packed once."""
        found: PackedLayer = self.kept.get(diff_id) or self.done.get(diff_id, lambda: _measure(file))
        return found

    def keeping(self, kept: Mapping[str, PackedLayer]) -> Packing:
        """Return the same with layers of another base."""
        return Packing(kept=kept, done=self.done)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedImage:
    """A manifest, with the plain files of the layers that are packed for it, by the digests that they get.

    ``kept`` are the blobs of the base that it names, with their sizes; they are in the base's registry.
    """

    manifest: bytes
    media_type: str
    config: str
    own: Mapping[str, Path]
    kept: Mapping[str, int]

    @property
    def digest(self) -> str:
        return sha256_of(self.manifest)

    @property
    def blobs(self) -> tuple[str, ...]:
        """All its blobs, configuration first."""
        return (self.config, *self.kept, *self.own)


def pack_image(folder: Path, packing: Packing) -> PackedImage:
    """Return the packed form of an image that was exported with plain layers, in the form ``dir:``.

    Raises:
        FormatError: what was exported is no image.
    """
    try:
        data = read_json((folder / "manifest.json").read_bytes(), "it")
        config = str(data["config"]["digest"])
        own: dict[str, Path] = {}
        kept: dict[str, int] = {}
        layers = []
        for layer in data["layers"]:
            diff_id = str(layer["digest"])
            if not is_digest(diff_id):
                raise FormatError(f"a layer of it is named {diff_id!r}")  # noqa: TRY301 - it would be a path
            file = folder / diff_id.removeprefix("sha256:")
            packed = packing.of(diff_id, file)
            if diff_id in packing.kept:
                kept[packed.digest] = packed.size
            else:
                own[packed.digest] = file
            media_type = media_type_of(str(layer["mediaType"]), packed.packing)
            layers.append({**layer, "digest": packed.digest, "size": packed.size, "mediaType": media_type})
    except (OSError, KeyError, TypeError, FormatError) as error:
        raise FormatError(f"{folder.name}: what buildah exported has no manifest: {error!r}"[:300]) from None
    manifest = dump({**data, "layers": layers})
    media_type = str(data.get("mediaType") or OCI_MANIFEST)
    return PackedImage(manifest=manifest, media_type=media_type, config=config, own=own, kept=kept)


def pack_layer(file: Path) -> Iterator[bytes]:
    """Yield a plain layer packed, piece by piece: the same bytes on every machine."""
    with file.open("rb") as stream:
        piece = stream.read(_PIECE)
        while True:  # an empty file is one empty member, not nothing
            yield bytes(deflate.gzip_compress(piece, _LEVEL))
            if not (piece := stream.read(_PIECE)):
                return


def _measure(file: Path) -> PackedLayer:
    hasher = hashlib.sha256()
    size = 0
    for piece in pack_layer(file):
        hasher.update(piece)
        size += len(piece)
    return PackedLayer(digest=f"sha256:{hasher.hexdigest()}", size=size)
