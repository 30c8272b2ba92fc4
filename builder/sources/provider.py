"""Kernel sources as everything after discovery sees them: what the lock says, without asking anybody.

Identities are digests of what a toolkit, a base image or a bootable kernel is made of; names are those in the container
store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from builder.config.model import OpenShiftKernels
from builder.digest import content_id
from builder.errors import LockFileError, UnknownToolkitError
from builder.sources.debian import discover as debian
from builder.sources.lock import LockedDebian, LockedOpenShift, ReleaseState
from builder.store.images import TOOLKIT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.config.model import Config
    from builder.kernel import Arch, KernelVersion
    from builder.sources.lock import Lock, LockedNodeKernel

_ID_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInput:
    """Something that went into a build: where it is served (``uri``), and its SHA-256 without prefix."""

    name: str
    uri: str
    sha256: str
    version: str = ""
    purl: str = ""
    """Package URL (github.com/package-url/purl-spec); empty where there is no kind of package for it."""


@dataclass(frozen=True, slots=True)
class DebianSource:
    """Toolkits and base images made from locked packages."""

    locked: LockedDebian
    build_arch: Arch

    def toolkit_id(self, kernel: KernelVersion) -> str:
        """Return the identity of a kernel's toolkit; LockFileError says why there is none for this machine."""
        return debian.toolkit_id(self.locked, kernel, self.build_arch)

    def toolkit_image(self, kernel: KernelVersion) -> str:
        """Return its name; raises as ``toolkit_id`` does."""
        return f"{TOOLKIT_PREFIX}toolkit:{kernel.tag}-{self.toolkit_id(kernel)[:_ID_LENGTH]}"

    def base_id(self, arch: Arch) -> str:
        """Return the identity of the small base image; LockFileError says why there is none."""
        return debian.runtime_id(self.locked, arch)

    def base_image(self, arch: Arch) -> str:
        return f"{TOOLKIT_PREFIX}base:{arch}-{self.base_id(arch)[:_ID_LENGTH]}"

    def toolkit_inputs(self, kernel: KernelVersion) -> tuple[BuildInput, ...]:
        """Return what a kernel's toolkit is made of; raises as ``toolkit_id`` does."""
        layers = debian.toolkit_packages(self.locked, kernel, self.build_arch)
        return self._describe(name for layer in layers for name in layer)

    def base_inputs(self, arch: Arch) -> tuple[BuildInput, ...]:
        """Return what the small base image is made of."""
        return self._describe(self.locked.package_sets[f"runtime-{arch}"])

    def _describe(self, names: Iterable[str]) -> tuple[BuildInput, ...]:
        found = []
        for key in names:
            package = self.locked.packages[key]
            name, version, arch = key.split("_")
            purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={arch}"
            found.append(BuildInput(name=name, version=version, uri=package.url, sha256=package.sha256, purl=purl))
        return tuple(found)

    def boot_id(self, kernel: KernelVersion) -> str:
        """Return a digest that names the image of the bootable kernel; empty where there is none."""
        name = self.locked.kernels[kernel.raw].image
        return self.locked.packages[name].sha256 if name else ""


@dataclass(frozen=True, slots=True)
class OpenShiftSource:
    """Toolkits by digest out of release payloads. ``runtime`` gives what OpenShift does not have."""

    name: str
    locked: LockedOpenShift
    build_arch: Arch
    runtime: DebianSource | None

    def toolkit_pullspec(self, kernel: KernelVersion) -> str:
        """Return the toolkit that cells of a kernel are built with.

        Raises:
            LockFileError: there is none, or it does not run on this machine.
        """
        locked = self._kernel(kernel)
        if not locked.toolkit:
            raise self._no_toolkit(kernel, locked)
        if kernel.arch is not self.build_arch:
            raise LockFileError(
                f"the toolkit of {kernel} runs on {kernel.arch} only, and this machine is {self.build_arch}: build it "
                "on such a machine"
            )
        return locked.toolkit

    def toolkit_id(self, kernel: KernelVersion) -> str:
        # One image serves the standard and the rt kernel, and what is known of each is kept by this identity.
        return content_id("toolkit", self.toolkit_pullspec(kernel).rpartition("@")[2], kernel.raw)

    def toolkit_image(self, kernel: KernelVersion) -> str:
        digest = self.toolkit_pullspec(kernel).rpartition(":")[2]
        return f"{TOOLKIT_PREFIX}toolkit:{digest[:_ID_LENGTH]}"

    def base_id(self, arch: Arch) -> str:
        return self._runtime().base_id(arch)

    def base_image(self, arch: Arch) -> str:
        return self._runtime().base_image(arch)

    def toolkit_inputs(self, kernel: KernelVersion) -> tuple[BuildInput, ...]:
        """Return the toolkit; raises as ``toolkit_pullspec`` does."""
        return (image_input("driver-toolkit", self.toolkit_pullspec(kernel)),)

    def base_inputs(self, arch: Arch) -> tuple[BuildInput, ...]:
        return self._runtime().base_inputs(arch)

    def boot_id(self, kernel: KernelVersion) -> str:
        return self.boot_pullspec(kernel).rpartition(":")[2]

    def boot_pullspec(self, kernel: KernelVersion) -> str:
        """Return the image that has the kernel's vmlinuz: an operating system's, else the toolkit; empty without both.

        rt and 64k kernels are in no operating system image; toolkits have what their kernel-modules packages depend on.
        """
        return self.os_pullspec(kernel) or self._kernel(kernel).toolkit

    def os_pullspec(self, kernel: KernelVersion) -> str:
        """Return the operating system image that has the kernel; empty where none is known."""
        return self._kernel(kernel).image

    def _kernel(self, kernel: KernelVersion) -> LockedNodeKernel:
        locked = self.locked.kernels.get(kernel.raw)
        if locked is None:
            raise LockFileError(
                f"the lock has no kernel {kernel.raw} in source {self.name!r}", hint="run 'nox -s discover'"
            )
        return locked

    def _no_toolkit(self, kernel: KernelVersion, locked: LockedNodeKernel) -> LockFileError:
        release = self.locked.releases[f"{locked.releases[-1]}-{kernel.arch}"]
        stream = next(stream for tag, stream in sorted(release.streams.items()) if kernel.raw in stream.kernels)
        who = f"release {locked.releases[-1]}"
        if stream.state is ReleaseState.TOOLKIT_DIFFERS:
            others = sorted(raw for raw, words in stream.kernels.items() if raw != kernel.raw and "toolkit" in words)
            brings = f"runs it, but brings a toolkit for {', '.join(others) or 'another kernel'}"
            return LockFileError(f"{kernel} has no toolkit: {who} {brings}")
        if stream.state is ReleaseState.NO_TOOLKIT:
            return LockFileError(f"{kernel} has no toolkit: {who} brings none for {', '.join(locked.streams)}")
        return UnknownToolkitError(
            f"{kernel} has no known toolkit: that of {who} was never read; run 'nox -s discover' with a pull secret"
        )

    def _runtime(self) -> DebianSource:
        if self.runtime is None:
            raise LockFileError(
                f"source {self.name!r} has no small base image: give the driver a 'base_image' by digest, or name a "
                "source of provider debian as its 'runtime' in versions.yaml and run 'nox -s discover'"
            )
        return self.runtime


def image_input(name: str, pullspec: str) -> BuildInput:
    """Describe an image that is named by digest."""
    return BuildInput(name=name, uri=f"docker://{pullspec}", sha256=pullspec.rpartition(":")[2])


KernelSource = DebianSource | OpenShiftSource


def runtime_name(config: Config, name: str) -> str | None:
    """Return the Debian source that helps a source out: itself, the one that versions.yaml names, or the first."""
    source = config.sources.get(name)  # a lock can have sources that versions.yaml does not name any more
    if source is not None and not isinstance(source, OpenShiftKernels):
        return name
    debians = (other for other, candidate in config.sources.items() if not isinstance(candidate, OpenShiftKernels))
    return (source.runtime if source else None) or next(debians, None)


def open_source(config: Config, lock: Lock, name: str, build_arch: Arch) -> KernelSource:
    """Return a kernel source of the lock.

    Raises:
        LockFileError: the lock does not have it.
    """
    locked = lock.sources.get(name)
    if locked is None:
        raise LockFileError(f"the lock has no source {name!r}", hint=f"run 'nox -s discover -- --source {name}'")
    if isinstance(locked, LockedDebian):
        return DebianSource(locked, build_arch)
    helper = lock.sources.get(runtime_name(config, name) or "")
    runtime = DebianSource(helper, build_arch) if isinstance(helper, LockedDebian) else None
    return OpenShiftSource(name, locked, build_arch, runtime)
