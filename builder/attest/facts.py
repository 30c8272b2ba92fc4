"""What is known of a cell when something is said of its image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.evidence import BootEvidence, CellEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInput:
    """Something that went into a build: where it is served (``uri``), and its SHA-256 without prefix."""

    name: str
    uri: str
    sha256: str
    version: str = ""
    purl: str = ""
    """Package URL (github.com/package-url/purl-spec); empty where there is no kind of package for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFacts:
    """A cell's evidence with what the configuration and the lock say of it.

    ``labels`` are certification's words about the driver: vendor, summary and so on. ``boot`` is the test that its
    image passed; None where none is wanted. ``builder`` is a URI that says whose machine built it.
    """

    evidence: CellEvidence
    boot: BootEvidence | None
    repository: str
    digest: str
    driver_version: str
    arch: str
    vendor: str
    description: str
    toolkit: tuple[BuildInput, ...]
    base: tuple[BuildInput, ...]
    builder: str
    builder_version: str
    recipe: Mapping[str, str]
