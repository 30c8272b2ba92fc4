"""The image that this process runs in, where that is a builder image: who started it says which, by a variable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from builder.errors import FormatError, UsageError
from builder.pullspec import parse_pullspec
from builder.sources.provider import image_input

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.sources.provider import BuildInput

VARIABLE = "KMODSMITH_BUILDER_IMAGE"


def find_builder_image(environment: Mapping[str, str] | None = None) -> tuple[BuildInput, ...]:
    """Return the builder image, or nothing where nobody says that there is one.

    Raises:
        UsageError: what is said is no image by digest.
    """
    said = (os.environ if environment is None else environment).get(VARIABLE, "")
    if not said:
        return ()
    try:
        is_pinned = parse_pullspec(said).is_pinned
    except FormatError:
        is_pinned = False
    if not is_pinned:
        raise UsageError(f"{VARIABLE} is {said[:200]!r}, which names no image by digest")
    return (image_input("builder", said),)
