"""What registries served, kept by digest: it never changes, so it is never asked for again."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING

from builder.digest import sha256_of
from builder.errors import FormatError
from builder.foreign import read_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path


class RegistryCache:
    """A folder of manifests, small blobs and files of layers; holds only what was verified, may be shared by projects.

    A disk that filled up, or somebody's hand, may have damaged it: what has not its digest any more is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, digest: str) -> bytes | None:
        content = self._read(digest.removeprefix("sha256:"))
        return content if content is not None and sha256_of(content) == digest else None

    def keep(self, content: bytes) -> str:
        """Keep content; returns its digest."""
        digest = sha256_of(content)
        self._write(digest.removeprefix("sha256:"), content)
        return digest

    def get_files(self, layer: str, wanted: Collection[str]) -> dict[str, bytes] | None:
        """Return what was found in a layer; None if it was not read for these paths, or not all is there any more."""
        index = self._read(_index_name(layer, wanted))
        if index is None:
            return None
        try:
            digests = read_json(index, "it")
        except FormatError:
            return None
        found = {path: self.get(str(digest)) for path, digest in digests.items() if digest}
        whole = {path: content for path, content in found.items() if content is not None}
        return whole if len(whole) == len(found) else None

    def keep_files(self, layer: str, wanted: Collection[str], found: Mapping[str, bytes]) -> None:
        """Keep what was found of some paths in a layer, and which of them it does not have."""
        index = {path: self.keep(found[path]) if path in found else "" for path in sorted(wanted)}
        self._write(_index_name(layer, wanted), json.dumps(index).encode())

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name[:2] / name).read_bytes()
        except OSError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        target = self._folder / name[:2] / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            temporary.write_bytes(content)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
        temporary.replace(target)


def _index_name(layer: str, wanted: Collection[str]) -> str:
    """Name what is known of some paths of a layer: both never change."""
    return hashlib.sha256("\n".join([layer, *sorted(wanted)]).encode()).hexdigest()
