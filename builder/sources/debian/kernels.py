"""Bootable kernels of Debian: out of the packages ``linux-image-*`` that the lock names, of which little is kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from builder.digest import content_id
from builder.errors import FormatError, LockFileError, SourceError
from builder.host.locks import alone
from builder.kmod.kernel_object import module_name
from builder.kmod.packing import is_module
from builder.sources.debian.deb import find_members, read_members
from builder.sources.kernels import is_of_modules, keep_files, order_in_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from builder.kernel import Arch, KernelVersion
    from builder.sources.debian.lock import LockedPackage
    from builder.sources.debian.parts import DebianParts
    from builder.sources.download import Downloads

# A kernel as it is shipped and unpacked: the largest seen.
_KEPT_BYTES = 80 * 1024**2


class PackagedKernels:
    """Kernels out of Debian's packages; only what is needed of them is kept. Closes ``downloads``."""

    def __init__(self, parts: DebianParts, *, folder: Path, downloads: Downloads) -> None:
        self._parts = parts
        self._folder = folder
        self._downloads = downloads

    def close(self) -> None:
        self._downloads.close()

    def identity_of(self, kernel: KernelVersion) -> str:
        return self._parts.boot_id(kernel)

    def missing_bytes(self, kernel: KernelVersion) -> int:
        package = self._parts.boot_package(kernel)
        is_there = package is None or (self._folder / package.sha256).is_dir()
        return 0 if is_there or package is None else package.size + _KEPT_BYTES

    def ensure(self, kernel: KernelVersion) -> Path:
        package = self._package(kernel)
        target = self._folder / package.sha256
        with alone(target):
            if not target.is_dir():
                names = {f"boot/{name}-{kernel.raw}": name for name in ("vmlinuz", "config")}
                found = find_members(self._downloads.fetch(package), names.__contains__, most=len(names))
                if found.keys() != names.keys():
                    raise FormatError(f"the package of kernel {kernel} has no {min(names.keys() - found.keys())}")
                keep_files({names[path]: content for path, content in found.items()}, target)
                self._downloads.drop(package)  # 100 MB of modules that hardly any driver needs
        return target

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        wanted = sorted(set(names))
        if not wanted:
            return []
        package = self._package(kernel)
        folder = self.ensure(kernel)  # whoever comes first: a folder that is there is taken for whole
        target = folder / f"in-tree-{content_id(wanted)[:16]}"
        with alone(folder):
            if not target.is_dir():
                modules = order_in_tree(wanted, partial(_find_in_package, self._downloads.fetch(package)))
                keep_files({f"{number:03}-{name}": data for number, (name, data) in enumerate(modules)}, target)
                self._downloads.drop(package)
        return [(file.name[4:], file.read_bytes()) for file in sorted(target.iterdir())]

    def module_files(self, kernel: KernelVersion) -> Iterator[tuple[str, bytes]]:
        # The package is not dropped: some of its modules are taken next, which drops it.
        for member, content in read_members(self._downloads.fetch(self._package(kernel))):
            if member.isreg() and member.name.startswith("usr/lib/modules/") and is_of_modules(member.name):
                yield member.name, content

    def _package(self, kernel: KernelVersion) -> LockedPackage:
        package = self._parts.boot_package(kernel)
        if package is None:
            raise LockFileError(
                f"versions.lock.yaml names no bootable kernel for {kernel}",
                hint="run 'nox -s discover'; the archive may serve headers without the kernel",
            )
        return package


def read_busybox(parts: DebianParts, arch: Arch, downloads: Downloads) -> bytes:
    """Return the static busybox of a source's base images, for the guest's architecture.

    Raises:
        SourceError: its package could not be fetched or does not hold it.
    """
    names = [name for name in parts.base_packages(arch) if name.startswith("busybox-static_")]
    for name in names:
        package = downloads.fetch(parts.locked.packages[name])
        for content in find_members(package, {"usr/bin/busybox", "bin/busybox"}.__contains__, most=1).values():
            return content
    raise SourceError(f"the lock names no package with busybox for {arch}", hint="run 'nox -s discover'")


def _find_in_package(package: Path, wanted: frozenset[str]) -> dict[str, bytes]:
    def is_wanted(path: str) -> bool:
        return path.startswith("usr/lib/modules/") and is_module(path) and module_name(path) in wanted

    return find_members(package, is_wanted, most=len(wanted))
