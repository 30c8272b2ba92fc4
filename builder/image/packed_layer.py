"""A layer as a registry has it, and the words by which manifests say how it is packed. Pure.

Media types: OCI image-spec 1.1 (layer), and those of Docker's image manifest v2, schema 2, which means the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.digest import is_digest
from builder.errors import FormatError
from builder.foreign import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_OCI = "application/vnd.oci.image.layer.v1.tar"
_DOCKER = "application/vnd.docker.image.rootfs.diff.tar"
_FORMS = {
    kind + suffix: (kind, packing)
    for kind, mark in ((_OCI, "+"), (_DOCKER, "."))
    for packing in ("", "gzip", "zstd")
    for suffix in [f"{mark}{packing}" if packing else ""]
}
_TYPES = {form: media_type for media_type, form in _FORMS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedLayer:
    """A layer as a registry has it: digest (``sha256:…``) and size in bytes of the blob, and how it is packed.

    ``packing`` is empty for a plain archive, or ``gzip`` or ``zstd``.
    """

    digest: str
    size: int
    packing: str = "gzip"


def media_type_of(plain: str, packing: str) -> str:
    """Return the media type of a layer once it is packed, in the same family of types.

    Raises:
        FormatError: ``plain`` is not the type of a plain layer.
    """
    if _FORMS.get(plain) not in {(_OCI, ""), (_DOCKER, "")}:
        raise FormatError(f"a layer of it is {plain!r}, and a plain one was expected")
    return _TYPES[plain, packing]


def layers_of_base(manifest: bytes, diff_ids: Sequence[str]) -> dict[str, PackedLayer]:
    """Return the layers of an image of a registry by diff id, from its manifest and its configuration.

    Raises:
        FormatError: the two are not of one image, or a layer is packed in a way that nobody knows.
    """
    try:
        return dict(zip(diff_ids, list_layers(manifest, "the base image"), strict=True))
    except ValueError as error:
        raise FormatError(f"the manifest of the base image does not fit its configuration: {error!r}") from None


def list_layers(manifest: bytes, name: str) -> list[PackedLayer]:
    """Return the layers of an image of a registry, lowest first; ``name`` is for sentences.

    Raises:
        FormatError: it is no manifest, or a layer is packed in a way that nobody knows.
    """
    try:
        layers: list[Any] = read_json(manifest, f"the manifest of {name}")["layers"]
        return [_read(layer, name) for layer in layers]
    except (KeyError, TypeError) as error:
        raise FormatError(f"the manifest of {name} lists no layers as it should: {error!r}"[:300]) from None


def _read(layer: Any, name: str) -> PackedLayer:
    media_type, digest, size = str(layer["mediaType"]), layer["digest"], layer["size"]
    if media_type not in _FORMS:
        raise FormatError(f"a layer of {name} is {media_type[:100]!r}, which is no layer that can be kept")
    if not is_digest(digest) or type(size) is not int or size < 0:
        raise FormatError(f"a layer of {name} is named {digest!r} with {size!r} bytes")
    return PackedLayer(digest=digest, size=size, packing=_FORMS[media_type][1])
