"""An image as buildah exports it, and the same image in a registry, packed in other ways."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.compression import zstd
from builder.image.labels import KEY_LABEL
from builder.image.manifests import OCI_CONFIG, OCI_MANIFEST
from builder.image.packed import Packing, pack_image
from builder.publish.export import ExportedImage
from fakes.registry import FakeRegistry, digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

LAYER = "application/vnd.oci.image.layer.v1.tar"
KEY = "k" * 64
_FORMS = {
    LAYER: bytes,
    f"{LAYER}+gzip": lambda content: gzip.compress(content, 1, mtime=0),
    f"{LAYER}+zstd": zstd.compress,
}


@dataclass
class StoredImage:
    """An image of two layers in the container store, exported into ``folder``."""

    folder: Path
    layers: tuple[bytes, ...] = (b"base " * 2000, b"modules " * 900)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        config = {"os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [*map(digest_of, self.layers)]}}
        self.config = json.dumps(config).encode()
        for content in (*self.layers, self.config):
            (self.folder / digest_of(content).removeprefix("sha256:")).write_bytes(content)
        (self.folder / "manifest.json").write_text(json.dumps(self.manifest(*self.describe(LAYER))))

    def exported(self) -> ExportedImage:
        return ExportedImage(folder=self.folder, packed=pack_image(self.folder, Packing()))

    @property
    def digest(self) -> str:
        """Return what it has in registries that it is published to from here."""
        return self.exported().packed.digest

    def describe(
        self, media_type: str, server: FakeRegistry | None = None, repository: str = ""
    ) -> list[dict[str, Any]]:
        """Return the layers in a form; a server gets their blobs."""
        found = []
        for content in self.layers:
            packed = _FORMS[media_type](content)
            if server is not None:
                server.put_blob(repository, packed)
            found.append({"mediaType": media_type, "digest": digest_of(packed), "size": len(packed)})
        return found

    def manifest(self, *layers: dict[str, Any], **changes: Any) -> dict[str, Any]:
        config = {"mediaType": OCI_CONFIG, "digest": digest_of(self.config), "size": len(self.config)}
        return {
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": list(layers),
            "annotations": {KEY_LABEL: KEY}, **changes,
        }  # fmt: skip

    def put(self, server: FakeRegistry, repository: str, tag: str, media_type: str, **changes: Any) -> str:
        """Put it into a registry as another machine packs it; returns its digest there."""
        server.put_blob(repository, self.config)
        layers = self.describe(media_type, server, repository)
        return server.put_manifest(repository, self.manifest(*layers, **changes), tag)

    def keep_in(self, fake_tools: FakeTools) -> None:
        """Have a buildah that exports it, whatever it is asked for."""
        where = 'for word in "$@"; do case "$word" in dir:*) to=${word#dir:} ;; esac; done'
        fake_tools.add("buildah", f'{where}\ncp -r "{self.folder}" "$to"')
