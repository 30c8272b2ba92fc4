"""The table of providers: what the word ``provider`` of versions.yaml and of the lock stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.errors import LockFileError
from builder.sources.debian.provider import DebianProvider
from builder.sources.openshift.provider import OpenShiftProvider
from builder.sources.provider import Opening

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.config.model.config import Config
    from builder.kernel import Arch
    from builder.sources.lock import Lock, LockedSource
    from builder.sources.provider import KernelSource, Provider

PROVIDERS: Mapping[str, Provider[Any, Any]] = {
    "debian": DebianProvider(),
    "openshift": OpenShiftProvider(),
    "okd": OpenShiftProvider(),
}
LOCKED: tuple[type[LockedSource], ...] = tuple(dict.fromkeys(provider.locked for provider in PROVIDERS.values()))
"""The classes of their parts of the lock, each once."""


def open_source(config: Config, lock: Lock, name: str, build_arch: Arch) -> KernelSource:
    """Return a kernel source of the lock.

    Raises:
        LockFileError: the lock does not have it.
    """
    locked = lock.sources.get(name)
    if locked is None:
        raise LockFileError(f"the lock has no source {name!r}", hint=f"run 'nox -s discover -- --source {name}'")
    helper = config.runtime_of(name)
    has_helper = helper not in {None, name} and helper in lock.sources
    opening = Opening(
        name=name,
        locked=locked,
        build_arch=build_arch,
        runtime=open_source(config, lock, helper, build_arch) if helper and has_helper else None,
    )
    return PROVIDERS[locked.provider].open(opening)
