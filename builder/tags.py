"""Names of images in registries: one function for each rule. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.kernel import KernelVersion

# OCI distribution-spec, <reference> as a tag.
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_NOT_IN_TAG = re.compile(r"[^A-Za-z0-9._-]")


def normalize_tag(text: str) -> str:
    """Return text as KMM puts it into a tag: every character that is not allowed becomes ``_``.

    Source: kernel-sigs/kernel-module-management, internal/utils (facts/seed-and-openshift.md, section 4).
    """
    return _NOT_IN_TAG.sub("_", text)


def kernel_tag(driver_version: str, kernel: KernelVersion) -> str:  # noqa: ARG001 - all rules are called alike
    """``5.14.0-427.68.1.el9_4.x86_64_rt``: what KMM's day-1 looks for."""
    return kernel.tag


def version_kernel_tag(driver_version: str, kernel: KernelVersion) -> str:
    """``1.4.0-5.14.0-427.68.1.el9_4.x86_64_rt``: versions of a driver beside each other in one repository."""
    return f"{normalize_tag(driver_version)}-{kernel.tag}"


_RULES = {"kernel": kernel_tag, "version-kernel": version_kernel_tag}


def image_names(repository: str, driver_version: str, kernel: KernelVersion, rules: Sequence[str]) -> tuple[str, ...]:
    """Return the full names of a cell's image, in the order of the rules.

    Raises:
        UsageError: a tag is too long for a registry.
    """
    tags = [_RULES[rule](driver_version, kernel) for rule in rules]
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise UsageError(
                f"{tag} cannot be a tag: it has {len(tag)} characters, and 128 are allowed",
                hint="give the driver a shorter version in versions.yaml",
            )
    return tuple(f"{repository}:{tag}" for tag in tags)
