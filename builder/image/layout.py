"""Writes OCI images (image-spec 1.1) that depend on nothing but their contents: no clocks, owners or compression."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBlob:
    """An uncompressed layer file; ``digest`` is its SHA-256 without prefix, ``size`` in bytes."""

    file: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """A file, link or folder that we add to a layer ourselves."""

    path: str
    content: bytes | None = None
    link: str | None = None
    mode: int = 0o644

    def tar_member(self) -> tarfile.TarInfo:
        member = tarfile.TarInfo(self.path)
        if self.link is not None:
            member.type, member.linkname, member.mode = tarfile.SYMTYPE, self.link, 0o777
        elif self.content is None:
            member.type, member.mode = tarfile.DIRTYPE, 0o755
        else:
            member.size, member.mode = len(self.content), self.mode
        return member


def write_layer(
    file: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]], own: Sequence[LayerEntry] = ()
) -> LayerBlob:
    """Write a layer: our own entries first, then the members; the first of equal paths stays.

    Raises:
        SourceError: two members with the same path are not both folders.
    """
    seen: dict[str, bool] = {}
    with tarfile.open(file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry in own:
            seen[entry.path] = True
            archive.addfile(entry.tar_member(), io.BytesIO(entry.content or b""))
        for member, content in members:
            ours = seen.get(member.name)
            if ours is None:
                seen[member.name] = False
                archive.addfile(_plain(member), io.BytesIO(content))
            elif not ours and not member.isdir():
                raise SourceError(f"two packages of one layer hold {member.name}")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return LayerBlob(file=file, digest=digest, size=file.stat().st_size)


def write_image(
    folder: Path,
    layers: Sequence[LayerBlob],
    *,
    arch: str,
    environment: Mapping[str, str],
    labels: Mapping[str, str],
) -> None:
    """Write an OCI image layout with one image; layer files are linked, not copied.

    Args:
        folder: where to write, on the file system of the layers.
        layers: from the bottom up.
        arch: OCI spelling of the architecture.
        environment: variables of the image.
        labels: labels of the image.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for layer in layers:
        (blobs / layer.digest).hardlink_to(layer.file)
    config = _write_blob(
        blobs,
        {
            "architecture": arch,
            "os": "linux",
            "config": {
                "Env": [f"{name}={value}" for name, value in environment.items()],
                "Cmd": ["/bin/sh"],
                "Labels": dict(labels),
            },
            # buildah counts: an image made on top of this one needs an entry for each layer.
            "history": [{"created_by": "kmodsmith"} for _ in layers],
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
        },
    )
    manifest = _write_blob(
        blobs,
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, **config},
            "layers": [
                {"mediaType": _LAYER, "digest": f"sha256:{layer.digest}", "size": layer.size} for layer in layers
            ],
        },
    )
    index = {"schemaVersion": 2, "manifests": [{"mediaType": _MANIFEST, **manifest}]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = 0
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.pax_headers = {}
    return member


def _write_blob(blobs: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    content = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}
