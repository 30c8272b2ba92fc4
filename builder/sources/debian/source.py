"""A Debian source as everything after discovery sees it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.sources.debian.kernels import PackagedKernels, read_busybox
from builder.sources.debian.parts import DebianParts
from builder.sources.debian.toolkit import DebianToolkits
from builder.sources.download import Downloads

if TYPE_CHECKING:
    from builder.kernel import Arch
    from builder.sources.provider import Workplace


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianSource(DebianParts):
    """Toolkits, base images and bootable kernels out of locked packages."""

    def open_toolkits(self, workplace: Workplace) -> DebianToolkits:
        return DebianToolkits(self, packages_dir=workplace.packages_dir, work_dir=workplace.work_dir)

    def open_kernels(self, workplace: Workplace) -> PackagedKernels:
        return PackagedKernels(self, folder=workplace.kernels_dir, downloads=Downloads(workplace.packages_dir))

    def read_busybox(self, arch: Arch, workplace: Workplace) -> bytes:
        with closing(Downloads(workplace.packages_dir)) as downloads:
            return read_busybox(self, arch, downloads)
