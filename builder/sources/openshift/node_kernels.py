"""Which kernels follow from releases, and which toolkit each is built with. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.kernel import KernelVersion, Variant
from builder.sources.lock import LockedNodeKernel, natural_key
from builder.sources.openshift.lock import LockedRelease, LockedStream, split_key
from builder.sources.openshift.witnesses import run_by, served_by

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence


def derive_kernels(
    releases: Mapping[str, LockedRelease],
    previous: Mapping[KernelVersion, LockedNodeKernel],
    *,
    newest_toolkits: bool = False,
    unusable: Container[str] = (),
) -> dict[KernelVersion, LockedNodeKernel]:
    """Return the kernels that releases run, each with its releases and toolkits.

    Args:
        releases: all of the lock.
        previous: kernels of the lock so far: the toolkits that were chosen and seen stay.
        newest_toolkits: choose the newest toolkit of each kernel instead.
        unusable: toolkits that a kernel keeps only where no release brings another.
    """
    found: dict[KernelVersion, _Gathered] = {}
    for key in sorted(releases, key=natural_key, reverse=True):
        release = releases[key]
        for tag, stream in sorted(release.streams.items()):
            for kernel in run_by(stream.kernels):
                found.setdefault(kernel, _Gathered()).add(kernel, key, tag, release, stream)
    toolkits = toolkits_by_kernel(releases)
    return {
        kernel: gathered.lock(toolkits.get(kernel, []), previous.get(kernel), newest=newest_toolkits, unusable=unusable)
        for kernel, gathered in found.items()
    }


def toolkits_by_kernel(releases: Mapping[str, LockedRelease]) -> dict[KernelVersion, list[str]]:
    """Return the toolkits that releases bring for each kernel, the newest release's first."""
    toolkits: dict[KernelVersion, dict[str, None]] = {}
    for key in sorted(releases, key=natural_key, reverse=True):
        for _, stream in sorted(releases[key].streams.items()):
            for kernel in served_by(stream.kernels, stream.toolkit):
                toolkits.setdefault(kernel, {})[stream.toolkit] = None
    return {kernel: list(found) for kernel, found in toolkits.items()}


def replaceable_toolkits(
    releases: Mapping[str, LockedRelease], kernels: Mapping[KernelVersion, LockedNodeKernel], *, also_brought: bool
) -> set[str]:
    """Return the toolkits that kernels are built with and that another one could take the place of.

    Args:
        releases: all of the lock.
        kernels: with the toolkits that were chosen.
        also_brought: also toolkits that a release still brings, not only those of releases that left.
    """
    brought = toolkits_by_kernel(releases)
    found = {
        locked.toolkit
        for kernel, locked in kernels.items()
        if locked.toolkit and any(other != locked.toolkit for other in brought.get(kernel, ()))
    }
    return found if also_brought else found - {toolkit for toolkits in brought.values() for toolkit in toolkits}


@dataclass(slots=True)
class _Gathered:
    """What releases say of one kernel, the newest release first."""

    versions: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    images: list[str] = field(default_factory=list)
    rhel: list[str] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)

    def add(self, kernel: KernelVersion, key: str, tag: str, release: LockedRelease, stream: LockedStream) -> None:
        version = split_key(key)[0]
        if version not in self.versions:
            self.versions.append(version)
        self.tags.add(tag)
        if stream.image and kernel.variant is Variant.STANDARD:  # rt and 64k kernels are in the extensions
            self.images.append(stream.image)
        if stream.rhel:
            self.rhel.append(stream.rhel)
        self.dates += release.channels.values()

    def lock(
        self,
        toolkits: Sequence[str],
        previous: LockedNodeKernel | None,
        *,
        newest: bool,
        unusable: Container[str],
    ) -> LockedNodeKernel:
        older = previous.toolkits if previous else ()
        everything = tuple(dict.fromkeys([*toolkits, *older]))
        usable = next((toolkit for toolkit in toolkits if toolkit not in unusable), "")
        chosen = previous.toolkit if previous and not newest else ""
        if not chosen or chosen in unusable:
            chosen = usable or chosen
        return LockedNodeKernel(
            releases=tuple(reversed(self.versions)),
            streams=tuple(sorted(self.tags)),
            toolkit=chosen or (everything[0] if everything else ""),
            toolkits=everything,
            image=self.images[0] if self.images else "",
            rhel=self.rhel[0] if self.rhel else "",
            seen=min(self.dates, default=""),
        )
