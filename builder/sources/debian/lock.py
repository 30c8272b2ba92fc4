"""What the lock holds of a Debian archive: kernels, and the exact packages that make their toolkits. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from builder.config.parsed import ParsedKernel  # noqa: TC001 - pydantic reads annotations
from builder.kernel import Arch  # noqa: TC001 - as above
from builder.sources.lock import BrokenReference, LockedModel, LockedSource, Sha256, format_rows, natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from builder.kernel import KernelVersion


_WITH = " with "
CCACHE_SET = "ccache-"
"""What the names of sets with ccache begin with; the architecture that it runs on follows."""


def name_further_set(beside: str, wanted: Iterable[str]) -> str:
    """Return the name of the set that holds what is wanted beside another set, without what that has itself."""
    return f"{beside}{_WITH}{', '.join(sorted(wanted))}"


def set_beside(name: str) -> str:
    """Return the set that a further set of packages goes with; empty where it stands by itself."""
    return name.partition(_WITH)[0] if _WITH in name else ""


class LockedPackage(LockedModel):
    """One .deb file: where it is served, its size and installed size in bytes, its digest."""

    url: Annotated[str, Field(pattern=r"^https?://\S+\.deb$")]
    size: Annotated[int, Field(ge=0)]
    installed: Annotated[int, Field(ge=0)]
    sha256: Sha256


class LockedKernel(LockedModel):
    """A kernel of a Debian source: version of its header package, its toolchain and its header packages.

    ``toolchains`` maps the architecture that compiles to the name of a package set; ``headers`` maps it to the
    packages of this kernel's headers (the common headers and kbuild tools come first, the kernel's own last).
    """

    package_version: str
    toolchains: dict[Arch, str]
    headers: dict[Arch, tuple[str, ...]]
    image: str = ""
    """Package with the bootable kernel and its modules; empty where the archive has none."""

    @property
    def packages(self) -> frozenset[str]:
        """Packages of its headers, and the one that boots."""
        return frozenset(name for names in self.headers.values() for name in names) | ({self.image} - {""})


class LockedDebian(LockedSource):
    """What a Debian archive said; ``packages`` is keyed by name_version_arch, ``stale`` by kernel."""

    provider: Literal["debian"]
    kernels: dict[ParsedKernel, LockedKernel]
    package_sets: dict[str, tuple[str, ...]]
    """Closures of packages: ``toolchain-<build arch>-<target arch>-gcc-<n>``, ``runtime-<arch>`` and ``ccache-<build
    arch>``; and what drivers' builds need beside a toolchain, or component images beside a runtime, see
    ``name_further_set``."""
    packages: dict[str, LockedPackage]
    left_out: dict[str, str] = Field(default_factory=dict)
    """Kernels that the archive serves, but not all that their toolkits need, with the reason."""
    lacking: dict[str, str] = Field(default_factory=dict)
    """Further sets that cannot be had, with the reason."""

    def digests(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.packages[name].sha256 for name in names)

    def incomplete(self) -> Mapping[str, str]:
        return self.left_out

    def list_downloads(self, kernel: KernelVersion, build_arch: Arch) -> Mapping[str, int]:
        locked = self.kernels[kernel]
        if build_arch not in locked.toolchains:
            return {}
        toolchain = self.package_sets[locked.toolchains[build_arch]]
        names = {*toolchain, *locked.headers[build_arch], locked.image} - {""}
        return {name: self.packages[name].size for name in names}

    def lines(self) -> Iterator[str]:
        kernels = sorted(self.kernels.items(), key=lambda item: item[0].sort_key)
        yield from format_rows("kernels", ((str(kernel), locked.model_dump(mode="json")) for kernel, locked in kernels))
        yield from format_rows("package_sets", sorted((key, list(value)) for key, value in self.package_sets.items()))
        packages = sorted(self.packages.items(), key=lambda item: natural_key(item[0]))
        yield from format_rows("packages", ((key, package.model_dump(mode="json")) for key, package in packages))
        for title, entries in (("left_out", self.left_out), ("lacking", self.lacking), ("stale", self.stale)):
            if entries:
                yield from format_rows(title, sorted(entries.items(), key=lambda item: natural_key(item[0])))

    def broken_references(self) -> Iterator[BrokenReference]:
        for kernel, locked in self.kernels.items():
            missing_sets = set(locked.toolchains.values()) - self.package_sets.keys()
            if missing := missing_sets | (locked.packages - self.packages.keys()):
                yield BrokenReference(place=f"kernels.{kernel}", sentence=f"no such package {min(missing)}")
            if without := locked.toolchains.keys() - locked.headers.keys():
                yield BrokenReference(place=f"kernels.{kernel}", sentence=f"no headers for {min(without)}")
        for set_name, packages in self.package_sets.items():
            if missing := set(packages) - self.packages.keys():
                yield BrokenReference(place=f"package_sets.{set_name}", sentence=f"no such package {min(missing)}")
