"""Bootable kernels: the very image that the kernel source ships, what its configuration says, and its own modules."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from builder.boot.bzimage import unpack_kernel
from builder.digest import content_id
from builder.errors import FormatError, LockFileError, SourceError
from builder.host.locks import alone
from builder.host.once import Once
from builder.kernel import Arch
from builder.kmod.kernel_object import module_name, read_kernel_object
from builder.kmod.packing import is_module, unpack_module
from builder.kmod.signature import split_signature
from builder.sources.debian.deb import find_members
from builder.store.extract import extract_files
from builder.store.images import STAGE_REPOSITORY, read_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from builder.kernel import KernelVersion
    from builder.registry.pull import Puller
    from builder.sources.download import Downloads
    from builder.sources.lock import LockedDebian, LockedPackage
    from builder.sources.provider import OpenShiftSource
    from builder.store.jail import Jail

_MOST_IN_TREE = 200
# A kernel as it is shipped and unpacked, and the modules and kernel of an operating system image: the largest seen.
_KEPT_BYTES = 80 * 1024**2
_OS_IMAGE_BYTES = 400 * 1024**2
# Without it QEMU cannot start an ELF kernel directly.
_PVH = "CONFIG_PVH"
# /usr/lib/modules/<kernel>/vmlinuz is where every image-based system has it: RHCOS, Fedora CoreOS, bootc.
_FROM_OS_IMAGE = """\
ARG OS_IMAGE
FROM ${OS_IMAGE} AS build
ARG KERNEL_VERSION
RUN set -eu; cd "/usr/lib/modules/$KERNEL_VERSION"; cp vmlinuz config /out/; \\
    find kernel -name '*.ko' -o -name '*.ko.xz' -o -name '*.ko.zst' -o -name '*.ko.gz' | \\
    while read -r file; do cp "$file" /out/; done
"""


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


class DebianKernelImages:
    """Kernels out of the packages ``linux-image-*`` that the lock names; only what is needed of them is kept."""

    def __init__(self, source: LockedDebian, *, folder: Path, downloads: Downloads) -> None:
        self._source = source
        self._folder = folder
        self._downloads = downloads

    def identity_of(self, kernel: KernelVersion) -> str:
        name = self._source.kernels[kernel.raw].image
        return self._source.packages[name].sha256 if name else ""

    def missing_bytes(self, kernel: KernelVersion) -> int:
        is_there = not self.identity_of(kernel) or (self._folder / self.identity_of(kernel)).is_dir()
        return 0 if is_there else self._package(kernel).size + _KEPT_BYTES

    def of(self, kernel: KernelVersion) -> BootKernel:
        """Return a kernel.

        Raises:
            LockFileError: the lock names no package for it.
            SourceError: the package could not be fetched or is not what it should be.
            FormatError: it does not hold a kernel.
        """
        identity = self._checked_identity(kernel)
        target = self._folder / identity
        with alone(target):
            if not target.is_dir():
                names = {f"boot/{name}-{kernel.raw}": name for name in ("vmlinuz", "config")}
                found = find_members(self._fetch(kernel), names.__contains__, most=len(names))
                if found.keys() != names.keys():
                    raise FormatError(f"the package of kernel {kernel} has no {min(names.keys() - found.keys())}")
                _keep({names[path]: content for path, content in found.items()}, target)
                self._downloads.drop(self._package(kernel))  # 100 MB of modules that hardly any driver needs
        return _read_boot_kernel(kernel, target, identity)

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        wanted = sorted(set(names))
        if not wanted:
            return []
        folder = self._folder / self._checked_identity(kernel)
        target = folder / f"in-tree-{content_id(wanted)[:16]}"
        with alone(folder):
            if not target.is_dir():
                modules = order_in_tree(wanted, partial(_find_in_package, self._fetch(kernel)))
                _keep({f"{number:03}-{name}": data for number, (name, data) in enumerate(modules)}, target)
                self._downloads.drop(self._package(kernel))
        return [(file.name[4:], file.read_bytes()) for file in sorted(target.iterdir())]

    def _checked_identity(self, kernel: KernelVersion) -> str:
        identity = self.identity_of(kernel)
        if not identity:
            raise LockFileError(
                f"versions.lock.yaml names no bootable kernel for {kernel}",
                hint="run 'nox -s discover'; the archive may serve headers without the kernel",
            )
        return identity

    def _package(self, kernel: KernelVersion) -> LockedPackage:
        return self._source.packages[self._source.kernels[kernel.raw].image]

    def _fetch(self, kernel: KernelVersion) -> Path:
        return self._downloads.fetch(self._package(kernel))


def read_busybox(source: LockedDebian, arch: Arch, downloads: Downloads) -> bytes:
    """Return the static busybox of a source's base images, for the guest's architecture.

    Raises:
        SourceError: its package could not be fetched or does not hold it.
    """
    names = [name for name in source.package_sets[f"runtime-{arch}"] if name.startswith("busybox-static_")]
    for name in names:
        package = downloads.fetch(source.packages[name])
        for content in find_members(package, {"usr/bin/busybox", "bin/busybox"}.__contains__, most=1).values():
            return content
    raise SourceError(f"the lock names no package with busybox for {arch}", hint="run 'nox -s discover'")


class OsImageKernels:
    """The kernel inside an operating system image of the container store, such as a release's ``rhel-coreos``."""

    def __init__(self, image: str, *, folder: Path, jail: Jail) -> None:
        self._image = image
        self._folder = folder
        self._jail = jail

    def identity_of(self, kernel: KernelVersion) -> str:  # noqa: ARG002 - an image has one kernel
        return read_digest(self._image).removeprefix("sha256:")

    def missing_bytes(self, kernel: KernelVersion) -> int:
        return 0 if self._target(kernel).is_dir() else _OS_IMAGE_BYTES

    def of(self, kernel: KernelVersion) -> BootKernel:
        """Return the image's kernel.

        Raises:
            CommandError: the image does not hold this kernel.
        """
        target = self._target(kernel)
        _extract_kernel(self._image, kernel, target, jail=self._jail)
        return _read_boot_kernel(kernel, target, target.parent.name)

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        self.of(kernel)
        return _in_tree_of_folder(self._target(kernel), names)

    def _target(self, kernel: KernelVersion) -> Path:
        return self._folder / self.identity_of(kernel) / kernel.raw


class ReleaseKernels:
    """Kernels of OpenShift releases: out of their operating system images, pulled once, of which little is kept."""

    def __init__(self, source: OpenShiftSource, puller: Puller, *, folder: Path, jail: Jail) -> None:
        self._source = source
        self._puller = puller
        self._folder = folder
        self._jail = jail
        self._once = Once()

    def identity_of(self, kernel: KernelVersion) -> str:
        return self._source.boot_id(kernel)

    def missing_bytes(self, kernel: KernelVersion) -> int:
        if not self.identity_of(kernel) or self._target(kernel).is_dir():
            return 0
        return self._puller.size(self._source.boot_pullspec(kernel), kernel.arch) + _OS_IMAGE_BYTES

    def of(self, kernel: KernelVersion) -> BootKernel:
        """Return a kernel.

        Raises:
            SourceError: the image could not be pulled.
            CommandError: the image does not hold this kernel.
        """
        target = self._target(kernel)
        if not target.is_dir():
            self._once.get(target, lambda: self._fetch(kernel, target))
        return _read_boot_kernel(kernel, target, self.identity_of(kernel))

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        self.of(kernel)
        return _in_tree_of_folder(self._target(kernel), names)

    def _target(self, kernel: KernelVersion) -> Path:
        return self._folder / self.identity_of(kernel) / kernel.raw

    def _fetch(self, kernel: KernelVersion, target: Path) -> None:
        pullspec = self._source.boot_pullspec(kernel)
        is_toolkit = not self._source.os_pullspec(kernel)
        name = self._source.toolkit_image(kernel) if is_toolkit else f"{STAGE_REPOSITORY}:os-{target.parent.name[:16]}"
        self._puller.ensure(pullspec, name, kernel.arch)
        _extract_kernel(name, kernel, target, jail=self._jail)
        if not is_toolkit:
            self._puller.drop(name)  # gigabytes, of which the kernel and its modules are what guests need


def _extract_kernel(image: str, kernel: KernelVersion, target: Path, *, jail: Jail) -> None:
    extract_files(
        _FROM_OS_IMAGE,
        {"OS_IMAGE": image, "KERNEL_VERSION": kernel.raw},
        target,
        jail=jail,
    )


def _in_tree_of_folder(folder: Path, names: Iterable[str]) -> list[tuple[str, bytes]]:
    files = {module_name(file.name): file for file in folder.iterdir()}

    def find(wanted: frozenset[str]) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for name, file in files.items() if name in wanted}

    return order_in_tree(names, find)


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


def order_in_tree(names: Iterable[str], find: Callable[[frozenset[str]], dict[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return modules and all that they depend on, what is needed by others first.

    Args:
        names: what is wanted.
        find: returns files by path for module names; what it does not find is built into the kernel.

    Raises:
        FormatError: a file is no module.
    """
    known: dict[str, tuple[bytes, tuple[str, ...]]] = {}
    wanted = frozenset(names)
    asked: frozenset[str] = frozenset()
    while wanted and len(known) < _MOST_IN_TREE:
        asked |= wanted
        for path, data in find(wanted).items():
            plain = unpack_module(data, path)
            module = read_kernel_object(split_signature(plain).content, path)
            known[module_name(path)] = (plain, tuple(name.replace("-", "_") for name in module.depends))
        wanted = frozenset(name for _, depends in known.values() for name in depends) - asked
    ordered = order_by_dependency({name: depends for name, (_, depends) in known.items()})
    return [(name, known[name][0]) for name in ordered]


def order_by_dependency(depends: dict[str, tuple[str, ...]]) -> list[str]:
    """Return names so that each comes after those of the same mapping that it depends on; circles are broken."""
    ordered: dict[str, None] = {}

    def visit(name: str, above: frozenset[str]) -> None:
        if name in ordered or name in above or name not in depends:
            return
        for other in depends[name]:
            visit(other, above | {name})
        ordered[name] = None

    for name in depends:
        visit(name, frozenset())
    return list(ordered)


def _find_in_package(package: Path, wanted: frozenset[str]) -> dict[str, bytes]:
    def is_wanted(path: str) -> bool:
        return path.startswith("usr/lib/modules/") and is_module(path) and module_name(path) in wanted

    return find_members(package, is_wanted, most=len(wanted))


def _keep(files: dict[str, bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kernel-") as scratch:
        complete = Path(scratch, "complete")
        complete.mkdir()
        for name, content in files.items():
            (complete / name).write_bytes(content)
        complete.rename(target)


def _read_boot_kernel(kernel: KernelVersion, folder: Path, identity: str) -> BootKernel:
    try:
        lines = (folder / "config").read_text(errors="replace").splitlines()
    except OSError as error:
        raise FormatError(f"the configuration of kernel {kernel} cannot be read: {error.strerror}") from None
    settings = frozenset(line.removesuffix("=y") for line in lines if line.endswith("=y"))
    return BootKernel(kernel=kernel, vmlinuz=folder / "vmlinuz", settings=settings, identity=identity)
