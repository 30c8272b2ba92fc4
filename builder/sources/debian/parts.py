"""Which packages toolkits, base images and bootable kernels of a Debian source are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from builder.digest import content_id
from builder.errors import LockFileError, NoPackagesError, OtherMachineError
from builder.sources.debian.lock import CCACHE_SET, name_further_set
from builder.sources.provider import BuildInput
from builder.store.images import TOOLKIT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.kernel import Arch, KernelVersion
    from builder.sources.debian.lock import LockedDebian, LockedKernel, LockedPackage

# Part of every identity: a change in how toolkits or base images are put together makes new ones.
_RECIPE_VERSION = "3"
_ID_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianParts:
    """What the lock says of one Debian source, for a machine of ``build_arch``."""

    locked: LockedDebian
    build_arch: Arch

    def toolkit_packages(self, kernel: KernelVersion) -> tuple[tuple[str, ...], ...]:
        """Return the packages of a toolkit, layer by layer: toolchain, then each header package.

        Raises:
            LockFileError: the lock was made without this kernel, or without this build architecture.
        """
        locked = self._kernel(kernel)
        if self.build_arch not in locked.toolchains:
            raise OtherMachineError(
                f"the lock has no toolkit of {kernel.raw} for a machine that is {self.build_arch}",
                hint="add it to 'build_arches' of the source in versions.yaml and run 'nox -s discover'",
            )
        toolchain = self.locked.package_sets[locked.toolchains[self.build_arch]]
        return (toolchain, *((name,) for name in locked.headers[self.build_arch]))

    def toolkit_id(self, kernel: KernelVersion) -> str:
        layers = self.toolkit_packages(kernel)
        return content_id("toolkit", _RECIPE_VERSION, kernel.raw, [self.locked.digests(layer) for layer in layers])

    def toolkit_image(self, kernel: KernelVersion) -> str:
        return f"{TOOLKIT_PREFIX}toolkit:{kernel.tag}-{self.toolkit_id(kernel)[:_ID_LENGTH]}"

    def toolkit_inputs(self, kernel: KernelVersion) -> tuple[BuildInput, ...]:
        return self._describe(name for layer in self.toolkit_packages(kernel) for name in layer)

    def build_packages(self, kernel: KernelVersion, wanted: Iterable[str]) -> tuple[BuildInput, ...]:
        return self._describe(self.build_package_names(kernel, wanted))

    def build_package_names(self, kernel: KernelVersion, wanted: Iterable[str]) -> tuple[str, ...]:
        """Return the packages that builds want beside a toolkit, without those that it has.

        Raises:
            NoPackagesError: the lock was made without them, or the archive does not have them.
        """
        wanted = tuple(wanted)
        if not wanted:
            return ()
        self.toolkit_packages(kernel)
        return self._further_set(self._kernel(kernel).toolchains[self.build_arch], wanted, "that it builds with")

    def compile_image(self, kernel: KernelVersion, wanted: Iterable[str]) -> str:
        """Return the name of the toolkit image with build packages; that of the toolkit where it has them all."""
        names = self.build_package_names(kernel, wanted)
        if not names:
            return self.toolkit_image(kernel)
        return f"{self.toolkit_image(kernel)}-{content_id('with', self.locked.digests(names))[:_ID_LENGTH]}"

    def base_packages(self, arch: Arch) -> tuple[str, ...]:
        """Return the packages of the small base image.

        Raises:
            LockFileError: the lock was made without kernels of this architecture.
        """
        packages = self.locked.package_sets.get(f"runtime-{arch}")
        if packages is None:
            raise LockFileError(
                f"the lock has no small base image for {arch}",
                hint="run 'nox -s discover' once its kernels are in the source, or give drivers a base_image",
            )
        return packages

    def image_package_names(self, arch: Arch, wanted: Iterable[str]) -> tuple[str, ...]:
        """Return the packages that an image of components has beside the small base image.

        Raises:
            NoPackagesError: the lock was made without them, or the archive does not have them.
            LockFileError: it has no small base image for the architecture.
        """
        wanted = tuple(wanted)
        self.base_packages(arch)
        return self._further_set(f"runtime-{arch}", wanted, "of its image") if wanted else ()

    def image_packages_id(self, arch: Arch, wanted: Iterable[str]) -> str:
        return content_id("packages", self.base_id(arch), self.locked.digests(self.image_package_names(arch, wanted)))

    def image_packages(self, arch: Arch, wanted: Iterable[str]) -> tuple[BuildInput, ...]:
        return self._describe((*self.base_packages(arch), *self.image_package_names(arch, wanted)))

    def package_image(self, arch: Arch, wanted: Iterable[str]) -> str:
        """Return the name of the small base image with further packages; its own where none are wanted."""
        wanted = tuple(wanted)
        if not wanted:
            return self.base_image(arch)
        return f"{TOOLKIT_PREFIX}base:{arch}-{self.image_packages_id(arch, wanted)[:_ID_LENGTH]}"

    def _further_set(self, beside: str, wanted: tuple[str, ...], what: str) -> tuple[str, ...]:
        name = name_further_set(beside, wanted)
        if why := self.locked.lacking.get(name):
            raise NoPackagesError(f"the packages {what} ({', '.join(wanted)}) cannot be had: {why}")
        if name not in self.locked.package_sets:
            raise NoPackagesError(
                f"the lock does not hold the packages {what} ({', '.join(wanted)}): run 'nox -s discover'"
            )
        return self.locked.package_sets[name]

    def base_id(self, arch: Arch) -> str:
        return content_id("runtime", _RECIPE_VERSION, arch, self.locked.digests(self.base_packages(arch)))

    def base_image(self, arch: Arch) -> str:
        return f"{TOOLKIT_PREFIX}base:{arch}-{self.base_id(arch)[:_ID_LENGTH]}"

    def base_inputs(self, arch: Arch) -> tuple[BuildInput, ...]:
        return self._describe(self.base_packages(arch))

    def toolchain_id(self, kernel: KernelVersion) -> str:
        """Return the identity of what compiles for a kernel, which its headers are no part of."""
        return content_id("toolchain", _RECIPE_VERSION, self.locked.digests(self.toolkit_packages(kernel)[0]))

    def ccache_packages(self) -> tuple[str, ...]:
        """Return the packages of ccache for this machine; none where the lock was made without."""
        return self.locked.package_sets.get(f"{CCACHE_SET}{self.build_arch}", ())

    def boot_package(self, kernel: KernelVersion) -> LockedPackage | None:
        """Return the package with the bootable kernel; None where the archive has none.

        Raises:
            LockFileError: the lock was made without this kernel.
        """
        name = self._kernel(kernel).image
        return self.locked.packages[name] if name else None

    def boot_id(self, kernel: KernelVersion) -> str:
        package = self.boot_package(kernel)
        return package.sha256 if package else ""

    def _kernel(self, kernel: KernelVersion) -> LockedKernel:
        locked = self.locked.kernels.get(kernel)
        if locked is None:
            raise LockFileError(f"the lock has no kernel {kernel.raw} in this source", hint="run 'nox -s discover'")
        return locked

    def _describe(self, names: Iterable[str]) -> tuple[BuildInput, ...]:
        found = []
        for key in names:
            package = self.locked.packages[key]
            if key.count("_") != 2:  # noqa: PLR2004 - name_version_arch
                raise LockFileError(
                    f"the lock has a package {key!r}, which is no name, version and architecture",
                    hint="run 'nox -s discover'",
                )
            name, version, arch = key.split("_")
            purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={arch}"
            found.append(BuildInput(name=name, version=version, uri=package.url, sha256=package.sha256, purl=purl))
        return tuple(found)
