"""What pipelines are made from, and what holds them to the rules of Tekton."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from builder.config.model.tekton import TektonSettings
from builder.emit.tekton.material import TektonFacts
from builder.kernel import Arch
from fakes.schemas import validate

BUILDER = f"quay.test/org/builder@sha256:{'b' * 64}"
VERSIONS = ("1.3", "1.15")
_DATA = Path(__file__).parents[1] / "data" / "tekton"


def tekton_settings(**changes: Any) -> TektonSettings:
    said: dict[str, Any] = {
        "builder": BUILDER, "repository": "quay.test/org/plans", "source": "https://git.test/org/drivers.git",
    }  # fmt: skip
    return TektonSettings(**(said | changes))


def tekton_facts(*, signers: tuple[str, ...] = (), signs_images: bool = False, **settings: Any) -> TektonFacts:
    return TektonFacts(settings=tekton_settings(**settings), signers=signers, signs_images=signs_images)


EVERYTHING: dict[str, Any] = {
    "signers": ("2024", "production"), "signs_images": True, "arches": (Arch.X86_64, Arch.AARCH64),
    "node_selectors": {Arch.AARCH64: {"node-role.kubernetes.io/build": ""}}, "kvm": "devices.kubevirt.io/kvm",
    "group": "all", "release_group": "released", "authorities": "trusted", "compile_cache": "compiled", "name": "no", "namespace": "y",
}  # fmt: skip
"""All that can be set, with words that YAML 1.1 takes for something else."""


@functools.cache
def _schemas(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((_DATA / f"{name}.json").read_text())
    return loaded


def hold_to_schema(document: dict[str, Any], version: str) -> None:
    """Hold an object to the schema of its kind, in which nothing is let through that it does not name.

    Raises:
        SchemaViolation: it has something else.
    """
    known = _schemas(version)
    if document["kind"] not in known["kinds"]:
        known = _schemas("others")
    validate(document, known["kinds"][document["kind"]] | {"$defs": known["$defs"]})
