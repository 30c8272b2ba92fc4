"""Kernels for nodes that are virtual machines: Debian's own, of the lock, as their vendor signed them."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fakes.locks import debian_of

from builder.boot.initramfs import GuestFile, write_initramfs
from builder.boot.kernel_image import BootKernel, SourceKernels
from builder.host.locks import alone
from builder.kernel import Arch
from builder.kmod.kernel_object import module_name
from builder.kmod.packing import is_module
from builder.plan.project import open_project
from builder.sources.debian.kernels import PackagedKernels, read_busybox
from builder.sources.debian.parts import DebianParts
from builder.sources.download import Downloads
from builder.sources.kernels import order_in_tree
from builder.sources.lock_file import read_lock
from integration.kind.make import Say, cache_dir, say

if TYPE_CHECKING:
    from collections.abc import Iterator

_WANTED = re.compile(r"6\.1\.0-[0-9]+-amd64")
_INIT = Path(__file__).parent / "vm" / "init"
# What disk, network and the agent's port need before there is a disk. Of crc32c ext4 says no name: it asks for any.
_EARLY = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "crc32c_generic", "ext4")
# What kubelet, container engine, kube-proxy and pods ask modprobe for, and all that depends on.
_ASKED_FOR = (
    "drivers/net/dummy.ko", "drivers/net/veth.ko", "fs/fuse/", "fs/overlayfs/", "lib/", "net/802/", "net/bridge/", "net/ipv4/netfilter/",
    "net/ipv6/netfilter/", "net/llc/", "net/netfilter/",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NodeKernel:
    """A kernel, and what its first process needs before there is a disk; ``initramfs`` is the same for all nodes."""

    boot: BootKernel
    initramfs: Path

    @property
    def name(self) -> str:
        return self.boot.kernel.raw


def prepare_kernels(project: Path, tell: Say = say) -> list[NodeKernel]:
    """Return the two newest kernels of a project's lock that a node is upgraded to one after the other.

    What is not in the cache is fetched, which takes the network around a world.
    """
    lock = read_lock(project / "versions.lock.yaml")
    kernels = [kernel for kernel in lock.kernel_versions("debian") if _WANTED.fullmatch(kernel.raw)][-2:]
    cache = open_project(project).cache_dir
    parts = DebianParts(locked=debian_of(lock), build_arch=Arch.X86_64)
    downloads = Downloads(cache / "packages")
    packaged = PackagedKernels(parts, folder=cache / "boot", downloads=downloads)
    found = []
    try:
        busybox = read_busybox(parts, Arch.X86_64, downloads)
        for kernel in kernels:
            boot = SourceKernels(packaged).of(kernel)
            file = cache_dir() / f"vm-initramfs-{kernel}-{_key(busybox, boot)}"
            with alone(file):
                if not file.is_file():
                    tell(f"reading the modules of kernel {kernel}")
                    for old in cache_dir().glob(f"vm-initramfs-{kernel}-*"):
                        old.unlink()
                    fresh = file.with_name(f".{file.name}")
                    fresh.write_bytes(write_initramfs(_files(dict(packaged.module_files(kernel)), kernel.raw, busybox)))
                    fresh.rename(file)
                    if package := parts.boot_package(kernel):
                        downloads.drop(package)
            found.append(NodeKernel(boot=boot, initramfs=file))
    finally:
        packaged.close()
    return found


def _key(busybox: bytes, boot: BootKernel) -> str:
    recipe = [Path(__file__).read_bytes(), _INIT.read_bytes(), busybox, boot.identity.encode()]
    return hashlib.sha256(b"\0".join(recipe)).hexdigest()[:16]


def _files(modules: dict[str, bytes], kernel: str, busybox: bytes) -> Iterator[GuestFile]:
    def find(names: frozenset[str]) -> dict[str, bytes]:
        return {path: data for path, data in modules.items() if is_module(path) and module_name(path) in names}

    yield GuestFile(path="bin/busybox", content=busybox, mode=0o755)
    yield GuestFile(path="init", content=_INIT.read_bytes(), mode=0o755)
    for number, (name, content) in enumerate(order_in_tree(_EARLY, find)):
        yield GuestFile(path=f"early/{number:03}-{name}.ko", content=content)
    with tempfile.TemporaryDirectory() as folder:
        # An emulated node would take half a minute for its own depmod.
        top = Path(folder, "lib", "modules", kernel)
        for path, content in modules.items():
            place = path.partition(f"/{kernel}/")[2]
            if not is_module(path) or place.removeprefix("kernel/").startswith(_ASKED_FOR):
                (top / place).parent.mkdir(parents=True, exist_ok=True)
                (top / place).write_bytes(content)
        subprocess.run(["depmod", "--basedir", folder, kernel], check=True, capture_output=True)
        for file in sorted(top.rglob("*")):
            if file.is_file():
                yield GuestFile(path=f"modules/{file.relative_to(folder)}", content=file.read_bytes())


if __name__ == "__main__":
    prepare_kernels(Path(sys.argv[1]))
