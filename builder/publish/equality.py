"""Whether an image of a registry holds the very files of one that is here, although its manifest is another.

Layers can be packed in many ways, and each gives a manifest of its own. The configuration names the layers unpacked, so
an equal one names equal files; that the layers are those that it names is looked at, because whoever may write a tag
can put our configuration beside other layers, and what is found equal is signed as if it were made here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from builder.errors import FormatError
from builder.foreign import read_json
from builder.image.archive import BROKEN, hash_unpacked
from builder.image.packed_layer import list_layers
from builder.registry.manifest import Descriptor, parse_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from builder.image.packed_layer import PackedLayer
    from builder.publish.export import ExportedImage
    from builder.pullspec import Pullspec
    from builder.registry.reader import Registry

_LARGEST_CONFIG = 8 * 1024**2
# What nobody could pack becomes a little larger by it.
_ROOM = 1024**2


def find_difference(registry: Registry, image: Pullspec, exported: ExportedImage) -> str:
    """Say what differs between an image of a registry and one that was exported here; empty: they hold the same files.

    Args:
        registry: reads, and checks digests.
        image: by digest.
        exported: the one that is here.

    Raises:
        SourceError: a registry refuses, or gives no answer: then nothing is known.
    """
    theirs, ours = registry.manifest_bytes(image), exported.packed.manifest
    if registry.manifest(image).config != parse_manifest(ours, image).config:
        return "its configuration differs from that of the image that is here"
    try:
        is_alike = _without_layers(theirs) == _without_layers(ours)
    except FormatError as error:
        return error.message
    if not is_alike:
        return "its manifest differs in more than how layers are packed from that of the image that is here"
    try:
        found, known = list_layers(theirs, "the image"), list_layers(ours, "the image that is here")
        triples = list(zip(found, known, _read_diff_ids(exported), strict=True))
    except (FormatError, ValueError) as error:
        return f"its layers are not those of its configuration: {error}"
    for layer, own, diff_id in triples:
        if layer != own and not _unpacks_to(registry, image, layer, exported.folder, diff_id):
            return f"its layer {layer.digest} is not the one that its configuration names"
    return ""


def _without_layers(manifest: bytes) -> dict[str, Any]:
    """Return what a manifest says, with of its layers only what says more than how they are packed."""
    data = read_json(manifest, "its manifest", names_once=True)
    layers = data.get("layers")
    kept = [_without_packing(layer) for layer in layers] if isinstance(layers, list) else layers
    return {**data, "layers": kept}


def _without_packing(layer: Any) -> Any:
    if not isinstance(layer, dict):
        return layer
    return {key: value for key, value in layer.items() if key not in {"mediaType", "digest", "size"}}


def _read_diff_ids(exported: ExportedImage) -> list[str]:
    content = (exported.folder / exported.packed.config.removeprefix("sha256:")).read_bytes()
    layers = read_json(content, "the configuration", largest=_LARGEST_CONFIG).get("rootfs")
    return [str(item) for item in layers["diff_ids"]] if isinstance(layers, dict) else []


def _unpacks_to(registry: Registry, image: Pullspec, layer: PackedLayer, folder: Path, diff_id: str) -> bool:
    size = (folder / diff_id.removeprefix("sha256:")).stat().st_size
    file = folder / "theirs"
    with suppress(FormatError, *BROKEN):
        descriptor = Descriptor(layer.digest, layer.size)
        registry.save_blob(image, descriptor, file, largest=size + size // 100 + _ROOM)
        with file.open("rb") as stream:
            return f"sha256:{hash_unpacked(stream, most=size)}" == diff_id
    return False
