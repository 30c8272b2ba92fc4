"""What is known of a cell when something is said of its image. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.evidence.records import BootEvidence, CellEvidence
    from builder.sources.provider import BuildInput


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
    packages: tuple[BuildInput, ...] = ()
    """What was there beside the toolkit while modules were compiled."""
    builder_image: tuple[BuildInput, ...] = ()
    """The image that kmodsmith ran in; empty where that was no image."""
