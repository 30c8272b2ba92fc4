"""Reads what pipelines are made of: versions.yaml alone, so that files are the same on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.emit.tekton.material import TektonFacts
from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.config.model.config import Config

NO_DIGEST = "0" * 64
"""What stands for the builder's digest until there is one: no image has it."""


def make_tekton_facts(config: Config) -> TektonFacts:
    """Return what versions.yaml says of pipelines.

    Raises:
        UsageError: it says nothing.
    """
    if config.tekton is None:
        raise UsageError("versions.yaml has no 'tekton'", hint="give it one: docs/tekton.md begins with that")
    wanted = {name for group in config.groups.values() for name in group.signers}
    images = config.publish.signer
    return TektonFacts(
        settings=config.tekton,
        signers=[name for name in sorted(wanted) if config.signers[name].key_file],
        signs_images=bool(images and images.key_file),
    )


def tell(config: Config, facts: TektonFacts) -> Iterator[str]:
    """Yield what people should know of the files."""
    settings = facts.settings
    if settings.builder.endswith(NO_DIGEST):
        yield "tekton.builder is a placeholder, and no pod will start: publish the builder image, and give its digest."
    if settings.isolation == "privileged":
        yield (
            "isolation: privileged: the pods of shards are root on their nodes. Strangers' changes are only checked, "
            "not built."
        )
    for name in sorted({name for group in config.groups.values() for name in group.signers} - set(facts.signers)):
        yield f"signer {name!r} has no key file, so no Secret: what it needs must be in the builder image."
    if config.publish.signer and not facts.signs_images:
        yield "publish.signer has no key file, so no Secret: what it needs must be in the builder image."
    local = [driver.name for driver in config.drivers if driver.image is None]
    if local:
        yield f"driver {local[0]!r} has no 'image', so its images go nowhere: the gate will not let that pass."
