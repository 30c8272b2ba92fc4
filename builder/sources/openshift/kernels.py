"""Bootable kernels of releases: out of operating system images that are pulled once, and of which little is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.host.once import Once
from builder.registry.pull import open_puller
from builder.sources.kernels import OS_KERNEL_BYTES, extract_kernel, in_tree_of_folder, module_files_of_folder
from builder.store.images import STAGE_REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from builder.kernel import KernelVersion
    from builder.registry.pull import Puller
    from builder.sources.openshift.parts import OpenShiftParts
    from builder.sources.provider import Workplace
    from builder.store.jail import Jail


def open_release_kernels(parts: OpenShiftParts, workplace: Workplace) -> ReleaseKernels:
    """Return the kernels of a source, to be closed; UsageError where a file of pull secrets is not one."""
    puller = open_puller(workplace.registry, workplace.root, cache_dir=workplace.cache_dir, work_dir=workplace.work_dir)
    return ReleaseKernels(parts, puller, folder=workplace.kernels_dir, jail=workplace.jail)


class ReleaseKernels:
    """Kernels of releases; an image that has one is pulled, read and dropped."""

    def __init__(self, parts: OpenShiftParts, puller: Puller, *, folder: Path, jail: Jail) -> None:
        self._parts = parts
        self._puller = puller
        self._folder = folder
        self._jail = jail
        self._once = Once()

    def close(self) -> None:
        self._puller.close()

    def identity_of(self, kernel: KernelVersion) -> str:
        return self._parts.boot_id(kernel)

    def missing_bytes(self, kernel: KernelVersion) -> int:
        if not self.identity_of(kernel) or self._target(kernel).is_dir():
            return 0
        return self._puller.size(self._parts.boot_pullspec(kernel), kernel.arch) + OS_KERNEL_BYTES

    def ensure(self, kernel: KernelVersion) -> Path:
        target = self._target(kernel)
        if not target.is_dir():
            self._once.get(target, lambda: self._fetch(kernel, target))
        return target

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        return in_tree_of_folder(self.ensure(kernel), names)

    def module_files(self, kernel: KernelVersion) -> Iterator[tuple[str, bytes]]:
        return module_files_of_folder(self.ensure(kernel))

    def _target(self, kernel: KernelVersion) -> Path:
        return self._folder / self.identity_of(kernel) / kernel.raw

    def _fetch(self, kernel: KernelVersion, target: Path) -> None:
        pullspec = self._parts.boot_pullspec(kernel)
        is_toolkit = not self._parts.os_pullspec(kernel)
        name = self._parts.toolkit_image(kernel) if is_toolkit else f"{STAGE_REPOSITORY}:os-{target.parent.name[:16]}"
        self._puller.ensure(pullspec, name, kernel.arch)
        extract_kernel(name, kernel, target, jail=self._jail)
        if not is_toolkit:
            self._puller.drop(name)  # gigabytes, of which the kernel and its modules are what guests need
