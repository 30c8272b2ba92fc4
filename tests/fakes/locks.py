"""Parts of a lock as what they are, for tests that know which provider wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from builder.kernel import KernelVersion, parse_kernel_version
from builder.sources.debian.lock import LockedDebian
from builder.sources.openshift.lock import LockedOpenShift

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.sources.lock import Lock

_Row = TypeVar("_Row")


def debian_of(lock: Lock, name: str = "debian") -> LockedDebian:
    found = lock.sources[name]
    assert isinstance(found, LockedDebian)
    return found


def openshift_of(lock: Lock, name: str = "openshift") -> LockedOpenShift:
    found = lock.sources[name]
    assert isinstance(found, LockedOpenShift)
    return found


def by_text(kernels: Mapping[KernelVersion, _Row]) -> dict[str, _Row]:
    """Return rows of a lock by the texts of their kernels, as tests write them."""
    return {kernel.raw: row for kernel, row in kernels.items()}


def parsed(kernels: Mapping[str, _Row]) -> dict[KernelVersion, _Row]:
    """Return rows of a lock as it holds them."""
    return {parse_kernel_version(raw): row for raw, row in kernels.items()}
