"""A source of OpenShift or OKD releases as everything after discovery sees it.

What works is imported when it is asked to work: it brings httpx, with which the imports of a plan, which pulls nothing,
took a third longer (``python -X importtime``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import LockFileError
from builder.sources.openshift.parts import OpenShiftParts

if TYPE_CHECKING:
    from pathlib import Path

    from builder.kernel import Arch
    from builder.sources.openshift.kernels import ReleaseKernels
    from builder.sources.openshift.toolkit import PulledToolkits
    from builder.sources.provider import BuildInput, KernelSource, Workplace


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenShiftSource(OpenShiftParts):
    """Toolkits and operating systems by digest. ``runtime`` gives what releases do not have: base images, busybox."""

    runtime: KernelSource | None

    def base_id(self, arch: Arch) -> str:
        return self._runtime().base_id(arch)

    def base_image(self, arch: Arch) -> str:
        return self._runtime().base_image(arch)

    def base_inputs(self, arch: Arch) -> tuple[BuildInput, ...]:
        return self._runtime().base_inputs(arch)

    def open_toolkits(self, workplace: Workplace) -> PulledToolkits:
        from builder.sources.openshift.toolkit import open_pulled_toolkits  # noqa: PLC0415 - see the top

        runtime = self.runtime.open_toolkits(workplace) if self.runtime is not None else None
        return open_pulled_toolkits(self, workplace, runtime)

    def open_kernels(self, workplace: Workplace) -> ReleaseKernels:
        from builder.sources.openshift.kernels import open_release_kernels  # noqa: PLC0415 - see the top

        return open_release_kernels(self, workplace)

    def ensure_ccache(self, workplace: Workplace) -> Path | None:
        return self.runtime.ensure_ccache(workplace) if self.runtime is not None else None

    def read_busybox(self, arch: Arch, workplace: Workplace) -> bytes:
        if self.runtime is None:
            raise LockFileError(
                f"source {self.name!r} has no busybox for the guests of boot tests: name a source of provider debian "
                "as its 'runtime' in versions.yaml and run 'nox -s discover'"
            )
        return self.runtime.read_busybox(arch, workplace)

    def _runtime(self) -> KernelSource:
        if self.runtime is None:
            raise LockFileError(
                f"source {self.name!r} has no small base image: give the driver a 'base_image' by digest, or name a "
                "source of provider debian as its 'runtime' in versions.yaml and run 'nox -s discover'"
            )
        return self.runtime
