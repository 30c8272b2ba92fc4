"""The options that say which KMM the clusters run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from builder.emit.kmm.version import Flavour, KmmVersion

if TYPE_CHECKING:
    from collections.abc import Callable


_KMM = (
    click.option(
        "--kmm", "version", type=click.Choice([item.value for item in KmmVersion]), default="2.6", show_default=True,
        help="Version of KMM in the clusters; fields that came later are not known to it.",
    ),
    click.option(
        "--flavour", type=click.Choice([item.value for item in Flavour]), default="openshift", show_default=True,
        help="OpenShift's operator, or upstream's.",
    ),
)  # fmt: skip


def with_kmm(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Add the options that say which KMM the clusters run."""
    for option in reversed(_KMM):
        function = option(function)
    return function
