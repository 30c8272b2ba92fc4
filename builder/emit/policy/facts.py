"""Reads what policies for clusters and hosts are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.emit.policy.files import emit_policy
from builder.errors import UsageError
from builder.publish.result import LOCAL
from builder.signing.image_key import read_image_key

if TYPE_CHECKING:
    from builder.plan.project import Project


def emit_policy_files(project: Project) -> dict[str, str]:
    """Return the policy files of a project by name.

    Raises:
        UsageError: images are not signed, or go to no registry.
        SignerError: the public key cannot be read.
    """
    key = read_image_key(project.config)
    if key is None:
        raise UsageError("images are not signed", hint="name a key under publish.signer in versions.yaml")
    drivers = [driver.image_name for driver in project.config.drivers]
    named = [*drivers, *(component.image_name for component in project.config.components)]
    repositories = [name for name in named if not name.startswith(LOCAL)]
    if not repositories:
        raise UsageError("nothing has an image in a registry", hint="give it an 'image' in versions.yaml")
    mirrored = [
        f"{mirror}{repository.removeprefix(entry.source)}"
        for repository in repositories
        for entry in project.config.registry.mirrors
        if repository == entry.source or repository.startswith(f"{entry.source}/")
        for mirror in entry.mirrors
    ]
    name = f"kmodsmith-{project.config.drivers[0].name}"
    return emit_policy(key.pem, repositories, mirrored=mirrored, name=name)
