"""Kinds of releases of OpenShift and OKD, as their names tell them. Pure.

Names: ``4.18.12``; ``4.18.0-ec.2``, ``-fc.0``, ``-rc.3`` before the first release of a minor, ``4.18.0-0.nightly-...``;
``4.12.15-hotfix...`` and ``4.12.15-assembly.art6883.4`` (openshift-eng/art-tools: custom assemblies) for single
customers. OKD puts ``okd`` or ``okd-scos`` behind all of its own: ``4.22.0-okd-scos.7``, ``4.22.0-okd-scos.ec.16``,
``4.14.0-0.okd-scos-2024-01-30-032525``.
"""

from __future__ import annotations

import re
from enum import StrEnum

_FIX = re.compile(r"hotfix|assembly")
_BEFORE = re.compile(r"(?:^|[.-])(?:ec|fc|rc|nightly|ci)(?:[.-]|\d|$)")
_OKD = re.compile(r"(?:^|[.-])okd(?:[.-]|$)")


class ReleaseKind(StrEnum):
    """What a release is for."""

    GA = "ga"
    """Everybody: it is generally available."""
    CANDIDATE = "candidate"
    """Trying out what comes: ec, fc, rc, nightlies, and whatever else comes before a release."""
    HOTFIX = "hotfix"
    """One customer: a hotfix or assembly."""


def kind_of(version: str) -> ReleaseKind:
    """Return the kind of a release by its version; a name of a kind that nobody knows is no general release."""
    suffix = version.partition("+")[0].partition("-")[2].lower()
    if _FIX.search(suffix):
        return ReleaseKind.HOTFIX
    is_final = not suffix or (_OKD.search(suffix) and not _BEFORE.search(suffix))
    return ReleaseKind.GA if is_final else ReleaseKind.CANDIDATE
