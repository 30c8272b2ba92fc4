"""Reads an image as it would be pulled: its configuration, and every layer file by file, nothing unpacked to disk.

Image formats: OCI image-spec (layout, manifest, config, layer with whiteouts). What is read may be hostile, so
every blob is checked against its digest, and sizes, counts and paths have bounds.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import stat
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from builder.digest import is_digest
from builder.errors import FormatError, UsageError
from builder.foreign import read_json
from builder.host.places import open_regular
from builder.host.run import Command, run
from builder.image.archive import BROKEN, XATTR, read_tar
from builder.image.leaks import OVERLAP, find_leaks
from builder.image.overlay import Ambiguity, ImageFile, LayerTree, merge_layers
from builder.kmod.fit import place_modules
from builder.kmod.packing import is_module

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from builder.image.archive import Content
    from builder.image.leaks import Leak
    from builder.image.overlay import Layer
    from builder.kmod.finding import Finding
    from builder.kmod.fit import PlacedModule

_LARGEST_JSON = 8 * 1024**2
_LARGEST_LAYER = 16 * 1024**3
_LARGEST_KEPT = 512 * 1024**2
_MOST_LAYERS = 500
_MOST_HOPS = 40
# Of programs and shared objects, so much is kept that their machine and the loader that they need can be told.
_HEAD = 2048
_CAPABILITIES = f"{XATTR}security.capability"
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_CHUNK = 1024**2
# Files whose content the checks and the boot test look at; of all others only the name, kind and size are kept.
_KEPT = re.compile(
    r".*\.ko(\.xz|\.zst|\.gz)?|(opt|usr)?/?lib/modules/[^/]+/modules\..*"
    r"|((usr/)?(local/)?lib|etc|run)/modprobe\.d/[^/]+\.conf"
    r"|firmware/.*|etc/passwd|var/lib/dpkg/status(\.d/.*)?|(var/lib|usr/lib/sysimage)/rpm/rpmdb\.sqlite"
    r"|(etc|usr/lib)/os-release|(manifests|metadata)/[^/]+"
)


@dataclass(frozen=True, kw_only=True)
class ImageContents:
    """An image with its layers, lowest first, and the files that a container of it would see.

    ``ambiguities`` are those of its files of which not every engine would see the same.
    """

    name: str
    digest: str
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
    files: Mapping[str, ImageFile]
    ambiguities: tuple[Ambiguity, ...] = ()

    @cached_property
    def modules(self) -> tuple[list[PlacedModule], list[Finding]]:
        """All modules, wherever they lie, by path, and those that cannot be read; unpacked and parsed once."""
        return place_modules((file.path, file.content or b"") for file in list_modules(self))

    @property
    def labels(self) -> dict[str, str]:
        labels = self._setting("Labels")
        return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}

    @property
    def environment(self) -> list[str]:
        words = self._setting("Env")
        return [str(word) for word in words] if isinstance(words, list) else []

    @property
    def user(self) -> str:
        """Whom its containers run as, without group; empty where the image does not say it: root."""
        return str(self._setting("User") or "").partition(":")[0]

    def _setting(self, name: str) -> object:
        settings = self.config.get("config")
        return settings.get(name) if isinstance(settings, dict) else None

    def find(self, path: str) -> ImageFile | None:
        """Return the file at a path, links followed inside the image; None if there is none."""
        return None if (place := self.follow(path)) is None else self.files.get(place)

    def follow(self, path: str) -> str | None:
        """Return where a path leads, links followed inside the image; None for links in a circle."""
        parts = [part for part in path.split("/") if part]
        done: list[str] = []
        hops = 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                del done[-1:]
                continue
            file = self.files.get("/".join([*done, part]))
            if file is not None and file.link:
                hops += 1
                if hops > _MOST_HOPS:
                    return None
                parts = [word for word in file.link.split("/") if word not in {"", "."}] + parts
                done = [] if file.link.startswith("/") else done
                continue
            done.append(part)
        return "/".join(done)

    def below(self, folder: str) -> list[ImageFile]:
        prefix = f"{folder}/"
        return [file for path, file in self.files.items() if path.startswith(prefix)]


class LayerCache:
    """Layers by digest: images share their base, and a layer's content never changes. Safe to use from threads."""

    def __init__(self) -> None:
        self._layers: dict[str, Layer] = {}
        self._guard = threading.Lock()

    def get(self, digest: str) -> Layer | None:
        with self._guard:
            return self._layers.get(digest)

    def put(self, layer: Layer, *, is_shared: bool) -> None:
        if is_shared:
            with self._guard:
                self._layers[layer.digest] = layer


def export_image(image: str, folder: Path) -> None:
    """Write an image of the container store into a folder, as ``read_exported`` takes it.

    Raises:
        UsageError: the store has no such image.
        CommandError: it could not be written.
    """
    # Garbage collection costs this short-lived program more than it frees. "dir:" is a fifth faster than "oci:".
    environment = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}
    argv = ("buildah", "push", "--quiet", "--disable-compression", image, f"dir:{folder}")
    outcome = run(Command(argv=argv, environment=environment))
    if "image not known" in outcome.stderr:
        raise UsageError(f"the container store has no image {image}", hint="'buildah images' lists what it has")
    outcome.check()


def read_exported(folder: Path, name: str, cache: LayerCache) -> ImageContents:
    """Read an image in the form of containers-transports(5), ``dir:``: manifest.json, and blobs named by digest.

    Raises:
        FormatError: it is damaged, or holds something that no image should.
    """
    manifest = _read_small(folder / "manifest.json")
    return _read_image(folder, manifest, name, cache)


def read_oci_layout(folder: Path, name: str, cache: LayerCache) -> ImageContents:
    """Read the only image of an OCI layout.

    Raises:
        FormatError: it is damaged, or holds more than one image, or something that no image should.
    """
    index = read_json(_read_small(folder / "index.json"), "index.json")
    manifests = index.get("manifests")
    if not isinstance(manifests, list) or len(manifests) != 1:
        raise FormatError(f"{name}: an OCI layout with exactly one image is needed")
    blobs = folder / "blobs" / "sha256"
    return _read_image(blobs, _read_blob(blobs, _digest_of(manifests[0], name)), name, cache)


def _read_image(blobs: Path, raw_manifest: bytes, name: str, cache: LayerCache) -> ImageContents:
    manifest = read_json(raw_manifest, "manifest")
    config = read_json(_read_blob(blobs, _digest_of(manifest.get("config"), name)), "image configuration")
    descriptors = manifest.get("layers")
    if not isinstance(descriptors, list):
        raise FormatError(f"{name}: its manifest lists no layers; for an index of several images, name one of them")
    if len(descriptors) > _MOST_LAYERS:
        raise FormatError(f"{name}: it has {len(descriptors)} layers, and no engine mounts more than {_MOST_LAYERS}")
    layers = []
    for number, descriptor in enumerate(descriptors):
        layer_digest = _digest_of(descriptor, name)
        layer = cache.get(layer_digest) or _read_layer(blobs, layer_digest)
        cache.put(layer, is_shared=number < len(descriptors) - 1)
        layers.append(layer)
    digest = f"sha256:{hashlib.sha256(raw_manifest).hexdigest()}"
    files, ambiguities = merge_layers(layers)
    return ImageContents(
        name=name, digest=digest, config=config, layers=tuple(layers), files=files, ambiguities=ambiguities
    )


def is_shared_object(path: str) -> bool:
    """Tell whether a file is called as shared objects are; of many, no mode says that they are programs."""
    name = posixpath.basename(path)
    return name.endswith(".so") or ".so." in name


def _read_layer(blobs: Path, digest: str) -> Layer:
    tree = LayerTree(digest)
    leaks: list[Leak] = []
    seen_paths: set[str] = set()
    kept = 0
    blob = _blob(blobs, digest)
    _check_digest(blob, digest)
    try:
        with blob.open("rb") as stream:
            for member, content in read_tar(stream, most=_LARGEST_LAYER):
                path = _clean_path(member.name, digest)
                if path in seen_paths:
                    raise FormatError(f"layer {digest} holds {path} twice, and no engine unpacks that")
                seen_paths.add(path)
                base = posixpath.basename(path)
                if base == _OPAQUE:
                    tree.empty(posixpath.dirname(path))
                elif base.startswith(_WHITEOUT):
                    tree.hide(posixpath.join(posixpath.dirname(path), base.removeprefix(_WHITEOUT)))
                elif path != ".":
                    path = tree.place(path)
                    seen = _scan(content, member, path, room=_LARGEST_KEPT - kept)
                    kept += len(seen.content or b"") + len(seen.head)
                    leaks += seen.leaks
                    tree.put(_describe(member, path, seen, tree))
                    tree.tell(_find_overlay_marks(member, path))
    except BROKEN as error:
        raise FormatError(f"layer {digest} cannot be read: {error}") from None
    return tree.finish(leaks)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read of a file's content: all of it where it is kept, how a program begins, and leaks."""

    content: bytes | None = None
    head: bytes = b""
    leaks: tuple[Leak, ...] = ()


def _describe(member: tarfile.TarInfo, path: str, seen: _Seen, tree: LayerTree) -> ImageFile:
    if member.islnk():  # a hard link is another name of a file, or a link, that came before
        target = _clean_path(member.linkname, path)
        original = tree.find(target)
        if original is None:
            raise FormatError(f"{path} is a hard link to {member.linkname}, which is not in its layer")
        return replace(original, path=path, twin_of=target, has_capabilities=False)
    return ImageFile(
        path=path,
        mode=stat.S_IMODE(member.mode),
        size=member.size,
        is_file=member.isreg(),
        is_folder=member.isdir(),
        link=member.linkname if member.issym() else "",
        content=seen.content,
        head=seen.head,
        has_capabilities=_CAPABILITIES in member.pax_headers,
    )


def _find_overlay_marks(member: tarfile.TarInfo, path: str) -> Iterator[Ambiguity]:
    """Find what overlayfs takes for marks of its own: they hide files of other layers, and no archive shows that."""
    if member.ischr() and not member.devmajor and not member.devminor:
        yield Ambiguity(path, "a device 0:0, by which overlayfs hides what is below")
    for key in member.pax_headers:
        if ".overlay." in key:
            yield Ambiguity(path, f"the attribute {key.removeprefix(XATTR)[:80]}, which is overlayfs's own")


def _scan(stream: Content, member: tarfile.TarInfo, path: str, *, room: int) -> _Seen:
    if not member.isreg():
        return _Seen()
    keep = bool(_KEPT.fullmatch(path)) and member.size <= room
    head_size = _HEAD if (member.mode & 0o111 or is_shared_object(path)) and room >= _HEAD else 0
    if keep or member.size <= _CHUNK:
        content = stream.read_all()
        return _Seen(content if keep else None, content[:head_size], tuple(find_leaks(content, path)))
    leaks: list[Leak] = []
    head = part = b""
    while chunk := stream.read(_CHUNK):
        head = head or chunk[:head_size]
        leaks += find_leaks(part, path, more=True)
        part = part[-OVERLAP:] + chunk
    leaks += find_leaks(part, path)
    return _Seen(None, head, tuple(dict.fromkeys(leaks)))


def _clean_path(path: str, where: str) -> str:
    clean = posixpath.normpath(path.lstrip("/"))
    if clean == ".." or clean.startswith("../"):
        raise FormatError(f"{where}: {path} points out of the image")
    return clean


def _digest_of(descriptor: object, name: str) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not is_digest(digest):
        raise FormatError(f"{name}: a part of it is named by {digest!r}, which is no SHA-256 digest")
    return digest


def _blob(blobs: Path, digest: str) -> Path:
    return blobs / digest.removeprefix("sha256:")


def _read_blob(blobs: Path, digest: str) -> bytes:
    content = _read_small(_blob(blobs, digest))
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise FormatError(f"blob {digest} is damaged: its content has another digest")
    return content


def _check_digest(blob: Path, digest: str) -> None:
    try:
        with open_regular(blob, most=_LARGEST_LAYER) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FormatError as error:
        raise FormatError(f"layer {digest} {error.message}") from None
    except OSError as error:
        raise FormatError(f"layer {digest} cannot be read: {error.strerror}") from None
    if f"sha256:{found}" != digest:
        raise FormatError(f"layer {digest} is damaged: its content has another digest")


def _read_small(file: Path) -> bytes:
    try:
        with open_regular(file, most=_LARGEST_JSON) as stream:
            return stream.read(_LARGEST_JSON)
    except FormatError as error:
        raise FormatError(f"{file.name} {error.message}") from None
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error.strerror}") from None


def list_modules(image: ImageContents) -> list[ImageFile]:
    """Return every module of the image, wherever it lies, by path."""
    modules = (file for file in image.files.values() if file.is_file and is_module(file.path))
    return sorted(modules, key=lambda file: file.path)
