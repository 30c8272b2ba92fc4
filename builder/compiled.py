"""Results of compiles, kept so that new signatures, another base image or a lost image need no compile again.

A result is a tar file in the work folder whose name holds the key of the compile and the SHA-256 of the file: it
proves itself, and what a killed run leaves half-written has another name.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.tree import file_digest

if TYPE_CHECKING:
    from pathlib import Path


class CompiledResults:
    """The kept results of a work folder, by compile key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keys(self) -> frozenset[str]:
        return frozenset(file.name.partition("-")[0] for file in self._folder.glob("*-*.tar"))

    def keep(self, key: str, tree: Path) -> None:
        """Keep a folder under a key; replaces what was kept under it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{key}.{os.getpid()}"
        with tarfile.open(temporary, "w") as archive:
            archive.add(tree, arcname=".")
        target = self._folder / f"{key}-{file_digest(temporary)}.tar"
        self.drop(key)
        temporary.rename(target)

    def restore(self, key: str, tree: Path) -> bool:
        """Unpack what is kept under a key into a new folder; returns whether there was anything.

        Raises:
            FormatError: the file is not the one that was written.
        """
        file = next(self._folder.glob(f"{key}-*.tar"), None)
        if file is None:
            return False
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != file.stem.partition("-")[2]:
            raise FormatError(f"{file} was changed after it was written; remove it, and the cell is compiled again")
        tree.mkdir()
        with tarfile.open(file) as archive:
            # Our own file, known by its digest. The default of newer Pythons would refuse the link to the node's own
            # modules; Debian 12's Python 3.11.2 does not know the argument 'filter' yet.
            archive.extraction_filter = lambda member, _path: member
            archive.extractall(tree)  # noqa: S202 - see above
        return True

    def drop(self, key: str) -> None:
        for file in self._folder.glob(f"{key}-*.tar"):
            file.unlink()
