"""A Debian source as everything after discovery sees it.

What works is imported when it is asked to work: with it and with what discovers, the imports of a plan, which does
neither, took a tenth longer (``python -X importtime``).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.sources.debian.parts import DebianParts

if TYPE_CHECKING:
    from pathlib import Path

    from builder.kernel import Arch
    from builder.sources.debian.kernels import PackagedKernels
    from builder.sources.debian.toolkit import DebianToolkits
    from builder.sources.provider import Workplace


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianSource(DebianParts):
    """Toolkits, base images and bootable kernels out of locked packages."""

    def open_toolkits(self, workplace: Workplace) -> DebianToolkits:
        from builder.sources.debian.toolkit import DebianToolkits  # noqa: PLC0415 - see the top

        return DebianToolkits(self, packages_dir=workplace.packages_dir, work_dir=workplace.work_dir)

    def ensure_ccache(self, workplace: Workplace) -> Path | None:
        names = self.ccache_packages()
        if not names:
            return None
        from builder.sources.debian.ccache import unpack_ccache  # noqa: PLC0415 - see the top
        from builder.sources.download import Downloads  # noqa: PLC0415 - see the top

        with closing(Downloads(workplace.packages_dir)) as downloads:
            return unpack_ccache([self.locked.packages[name] for name in names], downloads, workplace.cache_dir)

    def open_packages(self, workplace: Workplace) -> DebianToolkits:
        return self.open_toolkits(workplace)

    def open_kernels(self, workplace: Workplace) -> PackagedKernels:
        from builder.sources.debian.kernels import PackagedKernels  # noqa: PLC0415 - see the top
        from builder.sources.download import Downloads  # noqa: PLC0415 - see the top

        return PackagedKernels(self, folder=workplace.kernels_dir, downloads=Downloads(workplace.packages_dir))

    def read_busybox(self, arch: Arch, workplace: Workplace) -> bytes:
        from builder.sources.debian.kernels import read_busybox  # noqa: PLC0415 - see the top
        from builder.sources.download import Downloads  # noqa: PLC0415 - see the top

        with closing(Downloads(workplace.packages_dir)) as downloads:
            return read_busybox(self, arch, downloads)
