"""Versions and flavours of KMM that are known here. Pure."""

from __future__ import annotations

from enum import StrEnum

from builder.emit.artefact import Option


class KmmVersion(StrEnum):
    """What a cluster runs; fields and rules of versions between two belong to the lower one."""

    V2_4 = "2.4"
    V2_6 = "2.6"
    V2_7 = "2.7"

    def has(self, since: str) -> bool:
        """Tell whether something that came with a version is there."""
        return _parts(self) >= _parts(since)


class Flavour(StrEnum):
    """OpenShift's operator builds with the cluster's own builds and knows releases; upstream builds with Kaniko."""

    OPENSHIFT = "openshift"
    UPSTREAM = "upstream"


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


FLAVOUR_OPTION = Option(
    flag="--flavour",
    name="flavour",
    values=tuple(Flavour),
    default=Flavour.OPENSHIFT,
    help="OpenShift's operator, or upstream's.",
)
KMM_OPTIONS = (
    Option(
        flag="--kmm", name="version", values=tuple(KmmVersion), default=KmmVersion.V2_6,
        help="Version of KMM in the clusters; fields that came later are not known to it.",
    ),
    FLAVOUR_OPTION,
)  # fmt: skip
"""Which KMM the clusters run."""
