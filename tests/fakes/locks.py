"""Parts of a lock as what they are, for tests that know which provider wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.sources.debian.lock import LockedDebian
from builder.sources.openshift.lock import LockedOpenShift

if TYPE_CHECKING:
    from builder.sources.lock import Lock


def debian_of(lock: Lock, name: str = "debian") -> LockedDebian:
    found = lock.sources[name]
    assert isinstance(found, LockedDebian)
    return found


def openshift_of(lock: Lock, name: str = "openshift") -> LockedOpenShift:
    found = lock.sources[name]
    assert isinstance(found, LockedOpenShift)
    return found
