"""What files for Tekton are made of, and how their objects are called. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.config.model.tekton import TektonSettings
    from builder.kernel import Arch

TEKTON = "tekton.dev/v1"
RESULTS = "/tekton/results"
"""Where Tekton reads results, one file each."""
PART_OF = "app.kubernetes.io/part-of"


@dataclass(frozen=True, slots=True, kw_only=True)
class TektonFacts:
    """What is known.

    Attributes:
        signers: signers of modules whose key is a file: their keys lie in the signing Secret.
        signs_images: whether publish.signer's does, too.
    """

    settings: TektonSettings
    signers: Sequence[str] = ()
    signs_images: bool = False

    @property
    def has_keys(self) -> bool:
        return bool(self.signers) or self.signs_images


def new_object(facts: TektonFacts, api_version: str, kind: str, name: str, *, cluster: bool = False) -> dict[str, Any]:
    """Return the beginning of an object: of the pipelines' namespace, or of the cluster."""
    metadata: dict[str, Any] = {"name": name}
    if not cluster:
        metadata["namespace"] = facts.settings.namespace_name
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata | {"labels": labels_of(facts)}}


def labels_of(facts: TektonFacts) -> dict[str, str]:
    """Return labels of what belongs to the pipelines: Tekton gives those of a Pipeline to its runs and pods."""
    return {PART_OF: facts.settings.name}


def named(facts: TektonFacts, word: str) -> str:
    """Return an object's name."""
    return f"{facts.settings.name}-{word}"


def lane(arch: Arch) -> str:
    """Return the task of a pipeline that has the shards of an architecture; a DNS label."""
    return f"shards-{arch.oci}"


def count_result(arch: Arch) -> str:
    """Return plan's result with the number of an architecture's shards, as text."""
    return f"count-{arch.oci}"


def minutes(number: int) -> str:
    """Return a time as Go writes it."""
    return f"{number // 60}h{number % 60}m0s"
