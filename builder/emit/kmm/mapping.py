"""How KMM chooses an image for a kernel: the first mapping that fits, in the order of the list.

Source: internal/api/moduleloaderdata and internal/module/kernelmapper.go of kernel-module-management: a literal is
compared whole, a regexp is searched. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from builder.config.regexp import matches
from builder.config.tag_rules import normalize_tag
from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?[-=][^}]*)?\}|(\w+))")


VARIABLES = (
    "KERNEL_FULL_VERSION", "KERNEL_VERSION", "KERNEL_XYZ", "KERNEL_X", "KERNEL_Y", "KERNEL_Z",
    "MOD_NAME", "MOD_NAMESPACE",
)  # fmt: skip
"""What KMM replaces in names of images and files to sign."""


def find_variables(text: str) -> list[str]:
    """Return the names of the variables in a text, in its order."""
    return [match[1] or match[2] for match in _VARIABLE.finditer(text)]


def choose_mapping(mappings: Sequence[Mapping[str, Any]], kernel: str) -> int | None:
    """Return the number of the mapping that KMM uses for a kernel; None if none fits."""
    for number, mapping in enumerate(mappings):
        if fits(mapping, kernel):
            return number
    return None


def fits(mapping: Mapping[str, Any], kernel: str) -> bool:
    """Tell whether a mapping is for a kernel; one with a regexp that RE2 does not take is for none."""
    if literal := mapping.get("literal"):
        return bool(literal == kernel)
    try:
        return bool(mapping.get("regexp")) and matches(str(mapping["regexp"]), kernel)
    except FormatError:
        return False


def image_of(container: Mapping[str, Any], kernel: str, *, name: str, namespace: str) -> str | None:
    """Return the image that KMM would pull on a node with a kernel, variables replaced; None if no mapping fits."""
    number = choose_mapping(container.get("kernelMappings") or (), kernel)
    if number is None:
        return None
    image = str(container["kernelMappings"][number].get("containerImage") or container.get("containerImage") or "")
    return expand(image, kernel, name=name, namespace=namespace)


def expand(text: str, kernel: str, *, name: str, namespace: str) -> str:
    """Replace KMM's variables; the kernel's are normalised as tags are (internal/utils/replaceStrings.go)."""
    normal = normalize_tag(kernel)
    parts = [*re.split(r"[.,-]", normal), "", "", ""]
    values = {
        "KERNEL_FULL_VERSION": normal,
        "KERNEL_VERSION": normal,
        "KERNEL_XYZ": ".".join(parts[:3]),
        "KERNEL_X": parts[0],
        "KERNEL_Y": parts[1],
        "KERNEL_Z": parts[2],
        "MOD_NAME": name,
        "MOD_NAMESPACE": namespace,
    }
    return _VARIABLE.sub(lambda match: values.get(match[1] or match[2], ""), text)
