"""Bootable kernels: the very image that the kernel source ships, what its configuration says, and its own modules."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from builder.boot.bzimage import unpack_kernel
from builder.boot.module_index import INDEX_FILE, keep_index, make_index
from builder.errors import FormatError
from builder.host.locks import alone
from builder.kernel import Arch
from builder.sources.kernels import OS_KERNEL_BYTES, extract_kernel, in_tree_of_folder, module_files_of_folder
from builder.store.images import read_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from builder.boot.load_order import ModuleIndex
    from builder.kernel import KernelVersion
    from builder.sources.provider import BootableKernels
    from builder.store.jail import Jail

# Without it QEMU cannot start an ELF kernel directly.
_PVH = "CONFIG_PVH"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootKernel:
    """A kernel to boot. ``settings`` are the names that its configuration sets to y; ``identity`` is a digest."""

    kernel: KernelVersion
    vmlinuz: Path
    settings: frozenset[str]
    identity: str


class KernelImages(Protocol):
    """Where bootable kernels come from; safe to use from several threads."""

    def identity_of(self, kernel: KernelVersion) -> str:
        """Return a digest that names the kernel's image; empty where there is none."""
        ...

    def missing_bytes(self, kernel: KernelVersion) -> int:
        """Return the room that fetching a kernel takes; 0 where it is there."""
        ...

    def of(self, kernel: KernelVersion) -> BootKernel:
        """Return a kernel, fetching it if need be."""
        ...

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        """Return the kernel's own modules of these names and all that they depend on, in the order of loading."""
        ...

    def index(self, kernel: KernelVersion) -> ModuleIndex:
        """Return what the kernel's own modules say of themselves; it is made once and kept."""
        ...


class SourceKernels:
    """Kernels of a kernel source."""

    def __init__(self, kernels: BootableKernels) -> None:
        self._kernels = kernels

    def identity_of(self, kernel: KernelVersion) -> str:
        return self._kernels.identity_of(kernel)

    def missing_bytes(self, kernel: KernelVersion) -> int:
        return self._kernels.missing_bytes(kernel)

    def of(self, kernel: KernelVersion) -> BootKernel:
        """Return a kernel; FormatError where it has no configuration, else the errors of ``BootableKernels.ensure``."""
        return _read_boot_kernel(kernel, self._kernels.ensure(kernel), self.identity_of(kernel))

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        return self._kernels.in_tree(kernel, names)

    def index(self, kernel: KernelVersion) -> ModuleIndex:
        return _keep_index(self._kernels.ensure(kernel), lambda: self._kernels.module_files(kernel))


class OsImageKernels:
    """The kernel inside an operating system image of the container store, such as a release's ``rhel-coreos``."""

    def __init__(self, image: str, *, folder: Path, jail: Jail) -> None:
        self._image = image
        self._folder = folder
        self._jail = jail

    def identity_of(self, kernel: KernelVersion) -> str:  # noqa: ARG002 - an image has one kernel
        return read_digest(self._image).removeprefix("sha256:")

    def missing_bytes(self, kernel: KernelVersion) -> int:
        return 0 if self._target(kernel).is_dir() else OS_KERNEL_BYTES

    def of(self, kernel: KernelVersion) -> BootKernel:
        """Return the image's kernel.

        Raises:
            CommandError: the image does not hold this kernel.
        """
        target = self._target(kernel)
        extract_kernel(self._image, kernel, target, jail=self._jail)
        return _read_boot_kernel(kernel, target, target.parent.name)

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        self.of(kernel)
        return in_tree_of_folder(self._target(kernel), names)

    def index(self, kernel: KernelVersion) -> ModuleIndex:
        self.of(kernel)
        return _keep_index(self._target(kernel), lambda: module_files_of_folder(self._target(kernel)))

    def _target(self, kernel: KernelVersion) -> Path:
        return self._folder / self.identity_of(kernel) / kernel.raw


def _keep_index(folder: Path, read: Callable[[], Iterable[tuple[str, bytes]]]) -> ModuleIndex:
    with alone(folder):
        return keep_index(folder / INDEX_FILE, lambda: make_index(read()))


def unpacked_kernel(kernel: BootKernel) -> Path:
    """Return a file that a guest without firmware starts faster: the same kernel, unpacked where that can be done."""
    if kernel.kernel.arch is not Arch.X86_64 or _PVH not in kernel.settings:
        return kernel.vmlinuz
    file = kernel.vmlinuz.with_name("vmlinux")
    with alone(file.parent):
        if not file.is_file():
            try:
                content = unpack_kernel(kernel.vmlinuz.read_bytes())
            except FormatError:
                return kernel.vmlinuz
            temporary = file.with_name(f".{file.name}.{os.getpid()}")
            temporary.write_bytes(content)
            temporary.replace(file)
    return file


def _read_boot_kernel(kernel: KernelVersion, folder: Path, identity: str) -> BootKernel:
    try:
        lines = (folder / "config").read_text(errors="replace").splitlines()
    except OSError as error:
        raise FormatError(f"the configuration of kernel {kernel} cannot be read: {error.strerror}") from None
    settings = frozenset(line.removesuffix("=y") for line in lines if line.endswith("=y"))
    return BootKernel(kernel=kernel, vmlinuz=folder / "vmlinuz", settings=settings, identity=identity)
