"""Reads images of registries by digest: manifests, blobs, files of layers (OCI distribution-spec 1.1).

Everything that is believed was checked against its digest. What a digest names never changes, so it is kept and never
asked for again; a name with a tag is asked for each time.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from builder.digest import sha256_of
from builder.errors import DamagedError, FormatError, SourceError, SourceGoneError
from builder.image.layer import read_layer_files, whiteouts_of
from builder.registry.cache import RegistryCache
from builder.registry.manifest import parse_manifest
from builder.registry.transport import Request

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import httpx

    from builder.pullspec import Pullspec
    from builder.registry.manifest import Descriptor, Manifest
    from builder.registry.transport import Transport

_LARGEST_MANIFEST = 4 * 1024**2


class Registry:
    """Reads images of any registry; safe to use from several threads.

    Args:
        transport: carries the requests.
        cache_dir: where what was read is kept.
    """

    def __init__(self, transport: Transport, cache_dir: Path) -> None:
        self.transport = transport
        self._cache = RegistryCache(cache_dir)

    def close(self) -> None:
        self.transport.close()

    @property
    def bytes_read(self) -> int:
        """Bytes of answers so far, for reports; what came from the cache does not count."""
        return self.transport.bytes_read

    def places(self, pullspec: Pullspec) -> list[Pullspec]:
        """Return where an image may be read, in the order in which the places are asked."""
        return self.transport.places(pullspec)

    def manifest(self, pullspec: Pullspec) -> Manifest:
        """Return the manifest or index that a name stands for; by digest, from the cache if it was read before.

        Raises:
            SourceGoneError: the registry says that there is none.
            SourceUnreachableError: no registry gave an answer, after several tries: unknown, not absent.
            SourceError: it refused, or answered with something else than was asked for.
        """
        return parse_manifest(self.manifest_bytes(pullspec), pullspec)

    def manifest_bytes(self, pullspec: Pullspec) -> bytes:
        """Return a manifest as it was served, and keep it. Errors are those of ``manifest``."""
        if pullspec.is_pinned and (kept := self._cache.get(pullspec.reference)) is not None:
            return kept
        content = self._read(pullspec, f"manifests/{pullspec.reference}", _LARGEST_MANIFEST)
        digest = sha256_of(content)
        if pullspec.is_pinned and digest != pullspec.reference:
            raise DamagedError(f"{pullspec}: the registry served another manifest, {digest}")
        self._cache.keep(content)
        return content

    def remember(self, content: bytes) -> None:
        """Keep a manifest or small blob that is known to be in a registry, as if it had been read."""
        self._cache.keep(content)

    def blob(self, pullspec: Pullspec, descriptor: Descriptor) -> bytes:
        """Return a small blob, such as an image's configuration; it is kept.

        Raises:
            FormatError: it claims to be larger than a small blob.
            SourceError: what ``manifest`` says of it.
        """
        if (kept := self._cache.get(descriptor.digest)) is not None:
            return kept
        if descriptor.size > _LARGEST_MANIFEST:
            raise FormatError(
                f"{pullspec}: blob {descriptor.digest} claims {descriptor.size} bytes, more than it may have"
            )
        content = self._read(pullspec, f"blobs/{descriptor.digest}", descriptor.size)
        if (found := sha256_of(content)) != descriptor.digest:
            raise DamagedError(f"{pullspec}: blob {descriptor.digest} is damaged: its content has the digest {found}")
        self._cache.keep(content)
        return content

    def save_blob(self, pullspec: Pullspec, descriptor: Descriptor, file: Path, *, largest: int) -> None:
        """Write a blob into a file as it comes; it is not kept.

        Raises:
            FormatError: it claims to be larger than ``largest`` bytes.
            SourceError: what ``manifest`` says of it.
        """
        if descriptor.size > largest:
            raise FormatError(f"blob {descriptor.digest} claims {descriptor.size} bytes, {largest} may be read")

        def save(answer: httpx.Response) -> None:
            hasher = hashlib.sha256()
            with file.open("wb") as stream:
                for chunk in self.transport.chunks(answer, descriptor.size, f"blob {descriptor.digest}"):
                    hasher.update(chunk)
                    stream.write(chunk)
            if (found := f"sha256:{hasher.hexdigest()}") != descriptor.digest:
                raise DamagedError(f"blob {descriptor.digest} is damaged: its content has the digest {found}")

        self.transport.read_anywhere(pullspec, f"blobs/{descriptor.digest}", lambda _, answer: save(answer))

    def files(
        self, pullspec: Pullspec, layer: Descriptor, wanted: Collection[str], *, largest_layer: int
    ) -> dict[str, bytes]:
        """Return wanted regular files of a layer, by path without leading slash; they are kept, the layer is not.

        All of the layer is read, because only then its digest says that what was found in it is true.

        Args:
            pullspec: an image that has the layer.
            layer: the layer.
            wanted: paths.
            largest_layer: bytes, packed, that may be read for it.

        Raises:
            FormatError: it is no layer, holds paths out of its tree, or unpacks to more than it may.
            SourceError: what ``manifest`` says of it.
        """
        if (kept := self._cache.get_files(layer.digest, wanted)) is not None:
            return kept
        if layer.size > largest_layer:
            raise FormatError(f"{pullspec}: layer {layer.digest} has {layer.size} bytes, {largest_layer} may be read")

        def read(place: Pullspec, answer: httpx.Response) -> dict[str, bytes]:
            chunks = self.transport.chunks(answer, layer.size, f"layer {layer.digest}")
            try:
                return read_layer_files(chunks, wanted, digest=layer.digest, size=layer.size)
            except FormatError as error:
                raise FormatError(f"{place}: {error.message}") from None

        found = self.transport.read_anywhere(pullspec, f"blobs/{layer.digest}", read)
        self._cache.keep_files(layer.digest, wanted, found)
        return found

    def find_file(self, pullspec: Pullspec, manifest: Manifest, path: str, *, largest_layer: int) -> bytes | None:
        """Return a file of an image: layers are read from the top down to the first that has it, or takes it away.

        None: no layer that may be read has it, down to the first that is larger than ``largest_layer``. Errors are
        those of ``files``.
        """
        gone = whiteouts_of(path)
        for layer in reversed(manifest.layers):
            if layer.size > largest_layer:
                return None
            found = self.files(pullspec, layer, {path, *gone}, largest_layer=largest_layer)
            if path in found:
                return found[path]
            if found:
                return None
        return None

    def image(self, pullspec: Pullspec, arch: str) -> tuple[Pullspec, Manifest]:
        """Return an image for an architecture (OCI spelling) and its name by digest; a name may stand for several.

        Raises:
            FormatError: there is no image for this architecture.
            SourceError: what ``manifest`` says of it.
        """
        manifest = self.manifest(pullspec)
        if not manifest.is_index:
            return pullspec.at(manifest.digest), manifest
        platforms = [name for name in manifest.images if name.split("/")[:2] == ["linux", arch]]
        if not platforms:
            raise FormatError(f"{pullspec} has no image for {arch}{_describe_platforms(manifest)}")
        chosen = pullspec.at(manifest.images[platforms[0]].digest)
        inner = self.manifest(chosen)
        if inner.is_index:
            raise FormatError(f"{pullspec}: its entry for {arch} is a list of images again")
        return chosen, inner

    def is_gone(self, pullspec: Pullspec) -> bool:
        """Tell whether every place of an image says now that it does not exist; no answer is none (design, rule 4)."""
        try:  # not what was kept: a manifest that was read once says nothing of today
            head = Request(method="HEAD")
            self.transport.read_anywhere(pullspec, f"manifests/{pullspec.reference}", lambda *_: None, head)
        except SourceGoneError:
            return True
        except SourceError:
            return False
        return False

    def _read(self, pullspec: Pullspec, path: str, most: int) -> bytes:
        return self.transport.read_anywhere(
            pullspec, path, lambda place, answer: self.transport.read_body(answer, most, f"{place} ({path})")
        )


def _describe_platforms(manifest: Manifest) -> str:
    """Return the end of a sentence that says that one is missing."""
    known = ", ".join(manifest.images)
    return f", only for {known}" if known else ": it is a list of images that names no platform"
