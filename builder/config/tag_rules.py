"""Names of images in registries: one function for each rule. Pure."""

from __future__ import annotations

import re
from string import Formatter
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


RULES = {"version-kernel": "{version}-{kernel}", "kernel": "{kernel}"}
"""Tag rules that have a name: side by side in one repository, and what KMM's day-1 looks for."""

_FIELDS = frozenset({"driver", "version", "kernel", "kernel_noarch", "arch", "variant"})


def check_tag_rule(rule: str) -> None:
    """Check a rule: a name of ``RULES``, or a pattern with fields of a cell.

    Raises:
        UsageError: it names a field that cells do not have, or can give no tag.
    """
    pattern = RULES.get(rule, rule)
    try:
        parts = [part for part in Formatter().parse(pattern) if part[1] is not None]
        fields = {str(name) for _, name, _, _ in parts}
    except ValueError as error:
        raise UsageError(f"{rule!r} is no pattern of a tag: {error}") from None
    if "release" in fields:
        raise UsageError(f"{rule!r}: a kernel without its architecture is {{kernel_noarch}}; releases are OpenShift's")
    if unknown := fields - _FIELDS:
        raise UsageError(
            f"{rule!r} has the unknown field {{{min(unknown)}}}; known: {', '.join(sorted(_FIELDS))}; or it is one of "
            f"{', '.join(RULES)}"
        )
    if any(form or conversion for _, _, form, conversion in parts):
        raise UsageError(f"{rule!r}: fields stand as they are, as in {{version}}")
    if not fields:
        raise UsageError(f"{rule!r} would be the same tag for every image; known names: {', '.join(RULES)}")
    if not _TAG.fullmatch(pattern.format_map(dict.fromkeys(_FIELDS, "x"))):
        raise UsageError(f"{rule!r} gives no tag: letters, digits, '.', '_' and '-' are allowed")


def is_own_tag(rule: str) -> bool:
    """Tell whether a rule gives every kernel a tag of its own."""
    return "{kernel}" in RULES.get(rule, rule)


def component_names(repository: str, version: str, arch: str) -> tuple[str, str]:
    """Return the full names of a component's image: its own, and the one that stands for all architectures.

    Versions have at most 65 characters, so that neither is too long.
    """
    tag = normalize_tag(version)
    return f"{repository}:{tag}-{arch}", f"{repository}:{tag}"


def image_names(
    repository: str, driver: str, version: str, kernel: KernelVersion, rules: Sequence[str], *, suffix: str = ""
) -> tuple[str, ...]:
    """Return the full names of a cell's image, in the order of the rules; ``suffix`` is what all tags end with.

    Raises:
        UsageError: a tag is too long for a registry.
    """
    fields = {
        "driver": driver,
        "version": version,
        "kernel": kernel.raw,
        "kernel_noarch": kernel.noarch,
        "arch": kernel.arch.oci,
        "variant": str(kernel.variant),
    }
    tags = [normalize_tag(RULES.get(rule, rule).format_map(fields)) + suffix for rule in rules]
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise UsageError(
                f"{tag} cannot be a tag: it has {len(tag)} characters, and 128 are allowed",
                hint="give the driver a shorter version in versions.yaml",
            )
    return tuple(dict.fromkeys(f"{repository}:{tag}" for tag in tags))
