"""Which images toolkits and bootable kernels of releases come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.digest import content_id
from builder.errors import LockFileError, NoPackagesError, OtherMachineError, UnknownToolkitError
from builder.sources.openshift.witnesses import TOOLKIT
from builder.sources.provider import image_input
from builder.sources.release import ReleaseState
from builder.store.images import TOOLKIT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.kernel import Arch, KernelVersion
    from builder.sources.lock import LockedNodeKernel
    from builder.sources.openshift.lock import LockedOpenShift
    from builder.sources.provider import BuildInput

_ID_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenShiftParts:
    """What the lock says of one source of releases, for a machine of ``build_arch``."""

    name: str
    locked: LockedOpenShift
    build_arch: Arch

    def toolkit_pullspec(self, kernel: KernelVersion) -> str:
        """Return the toolkit that cells of a kernel are built with.

        Raises:
            LockFileError: there is none, or it does not run on this machine.
        """
        locked = self._kernel(kernel)
        if not locked.toolkit:
            raise self._no_toolkit(kernel, locked)
        if kernel.arch is not self.build_arch:
            raise OtherMachineError(
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

    def toolkit_inputs(self, kernel: KernelVersion) -> tuple[BuildInput, ...]:
        return (image_input("driver-toolkit", self.toolkit_pullspec(kernel)),)

    def compile_image(self, kernel: KernelVersion, wanted: Iterable[str]) -> str:
        self.build_packages(kernel, wanted)
        return self.toolkit_image(kernel)

    def build_packages(self, kernel: KernelVersion, wanted: Iterable[str]) -> tuple[BuildInput, ...]:
        if wanted := tuple(wanted):
            raise NoPackagesError(
                f"the toolkits of releases get no packages, and its build wants {', '.join(wanted)}: 'toolkits' of the "
                f"driver in versions.yaml can name an image of yours for {kernel}, built FROM its toolkit"
            )
        return ()

    def toolchain_id(self, kernel: KernelVersion) -> str:
        """Return an identity of what compiles for a kernel: toolkits of one RHEL minor version and one architecture.

        Which compiler is in a toolkit is known only to who has it: compiles that use this look into it.
        """
        self.toolkit_pullspec(kernel)
        return content_id("toolchain", self.build_arch, kernel.series)

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
        locked = self.locked.kernels.get(kernel)
        if locked is None:
            raise LockFileError(
                f"the lock has no kernel {kernel.raw} in source {self.name!r}", hint="run 'nox -s discover'"
            )
        return locked

    def _no_toolkit(self, kernel: KernelVersion, locked: LockedNodeKernel) -> LockFileError:
        release = self.locked.releases[f"{locked.releases[-1]}-{kernel.arch}"]
        stream = next(stream for tag, stream in sorted(release.streams.items()) if kernel in stream.kernels)
        who = f"release {locked.releases[-1]}"
        if stream.state is ReleaseState.TOOLKIT_DIFFERS:
            others = sorted(
                str(other) for other, words in stream.kernels.items() if other != kernel and TOOLKIT in words
            )
            brings = f"runs it, but brings a toolkit for {', '.join(others) or 'another kernel'}"
            return LockFileError(f"{kernel} has no toolkit: {who} {brings}")
        if stream.state is ReleaseState.NO_TOOLKIT:
            return LockFileError(f"{kernel} has no toolkit: {who} brings none for {', '.join(locked.streams)}")
        return UnknownToolkitError(
            f"{kernel} has no known toolkit: that of {who} was never read; run 'nox -s discover' with a pull secret"
        )
