"""What an index says. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedImage:
    """A published driver image for a kernel.

    Attributes:
        image: full name by digest, ``registry/repository@sha256:...``.
        arch: architecture of the kernel, OCI spelling.
        proven: what was proved of it: ``fit`` (its modules fit the kernel), ``any`` (they load on it),
            ``secure`` (copies of them do under Secure Boot) or ``signed`` (they do), as ``publish.require_boot``.
        signed_by: who signed its modules: SHA-256 fingerprints of the certificates.
    """

    image: str
    arch: str
    proven: str = ""
    signed_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What is published of one driver.

    Attributes:
        driver: its name.
        made: when, UTC; of two indexes the later one is newer.
        images: by driver version, then by kernel version (raw ``uname -r``).
        releases: kernels that nodes of a release may run, by ``version-arch`` as in ``4.18.25-x86_64``; a release that
            is not here is unknown.
    """

    driver: str
    made: datetime
    images: Mapping[str, Mapping[str, IndexedImage]] = field(default_factory=dict)
    releases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
