"""Where everything is on the site: files of cells, and words after ``#``. Equal facts give equal addresses. Pure."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.site.facts import SiteCell, SiteFacts

# Object stores take "+" for a blank, and names of files may be anything where a journal is somebody else's.
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST = 120


def plain(text: str) -> str:
    """Return a word that is a file name on every system and needs no escape in an address."""
    return _NOT_PLAIN.sub("_", text)[:_LONGEST].lstrip(".") or "_"


class Addresses:
    """The addresses of a site; two things never share one, whatever they are called."""

    def __init__(self, facts: SiteFacts) -> None:
        self._facts = facts
        self._taken: set[str] = set()

    @cached_property
    def _cells(self) -> Mapping[str, str]:
        found = {}
        for cell in self._facts.cells:
            folder, _, name = cell.id.partition("/")
            found[cell.id] = self._take(f"cells/{plain(folder)}/{plain(name)}")
        return found

    @cached_property
    def _kernels(self) -> Mapping[tuple[str, str], str]:
        rows = dict.fromkeys(
            [*((row.source, row.kernel) for row in self._facts.kernels)]
            + [(cell.source, cell.kernel) for cell in self._facts.cells]
        )
        return {key: self._take(f"kernel-{plain(key[1])}") for key in rows}

    @cached_property
    def _releases(self) -> Mapping[tuple[str, str, str], str]:
        rows = dict.fromkeys((row.source, row.release, row.arch) for row in self._facts.releases)
        return {key: self._take(f"release-{plain(key[1])}-{plain(key[2])}") for key in rows}

    def _take(self, wanted: str) -> str:
        name, number = wanted, 1
        # Also where two differ in capitals only: some file systems do not tell them apart.
        while name.lower() in self._taken:
            number += 1
            name = f"{wanted}-{number}"
        self._taken.add(name.lower())
        return name

    def page(self, cell: SiteCell) -> str:
        """Return the page of a cell, from the top of the site."""
        return f"{self._cells[cell.id]}.html"

    def data(self, cell: SiteCell) -> str:
        """Return the JSON of a cell."""
        return f"{self._cells[cell.id]}.json"

    def log(self, cell: SiteCell, kind: str) -> str:
        """Return the log of a cell: kind ``build`` or ``boot``."""
        return f"{self._cells[cell.id]}.{kind}.txt"

    def statement(self, cell: SiteCell, kind: str) -> str:
        """Return a statement about a cell's image: kind ``provenance``, ``sbom`` or ``tests``."""
        return f"{self._cells[cell.id]}.{kind}.json"

    def depth(self, cell: SiteCell) -> str:
        """Return the way from the page of a cell to the top of the site."""
        return "../" * self._cells[cell.id].count("/")

    def cell(self, cell: SiteCell) -> str:
        """Return the anchor of a cell in the matrix."""
        return self._cells[cell.id].replace("cells/", "cell-", 1).replace("/", "-on-")

    def kernel(self, source: str, kernel: str) -> str:
        """Return the anchor of a kernel, the same on each page that has it."""
        return self._kernels[source, kernel]

    def release(self, source: str, release: str, arch: str) -> str:
        return self._releases[source, release, arch]

    def driver(self, name: str, version: str) -> str:
        return f"driver-{plain(name)}-{plain(version)}"
