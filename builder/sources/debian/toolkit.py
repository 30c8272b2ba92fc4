"""Makes toolkit and base images out of locked Debian packages, by unpacking them: no apt, no root file system tool.

A toolkit honours the Driver Toolkit's contract (openshift/driver-toolkit), so nothing downstream can tell the
difference: ``/etc/driver-toolkit-release.json``, ``/usr/src/kernels/<kernel>``, ``/lib/modules/<kernel>/build``, the
compiler, ``scripts/sign-file`` and kmod. Its layers are shared: toolchain, kbuild tools, common headers, headers.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from builder.host.once import Once
from builder.host.run import Command, run
from builder.image.labels import KERNEL_LABEL, TOOLKIT_LABEL
from builder.image.layout import LayerBlob, LayerEntry, write_image, write_layer
from builder.kernel import Arch, Variant
from builder.sources.debian.deb import MERGED_FOLDERS, read_members
from builder.sources.download import Downloads
from builder.sources.provider import ToolkitBytes
from builder.store.images import IMPORT_NAME, list_images, remove_images, tag_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from tarfile import TarInfo

    from builder.kernel import KernelVersion
    from builder.sources.debian.parts import DebianParts

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ID_LENGTH = 16
# What was written here a moment ago is no image that a policy is about: hosts that let only signed images run have one
# that refuses everything else, and would refuse our own toolkits.
_POLICY_FILE = "policy.json"
_IMPORT = ("buildah", "pull", "--quiet", "--signature-policy", _POLICY_FILE)
_DOWNLOADS_AT_ONCE = 6
# KBUILD_MODPOST and others look for these names; bookworm's own alternatives and gcc package would make them.
_COMPILER_NAMES = ("gcc", "cpp", "gcov", "gcc-ar", "gcc-nm", "gcc-ranlib")
_CROSS_PREFIX = {Arch.X86_64: "x86_64-linux-gnu-", Arch.AARCH64: "aarch64-linux-gnu-"}
_KERNEL_ARCH = {Arch.X86_64: "x86", Arch.AARCH64: "arm64"}
# pahole encodes BTF with as many threads as there are processors, in the order in which they finish: two compiles of
# one 6.12 module differed. One thread makes them equal; the last -j counts.
_PAHOLE = b"""#!/bin/sh
exec /usr/bin/pahole "$@" -j1
"""
_BUSYBOX_NAMES = (
    "sh", "cat", "chmod", "chown", "cp", "cut", "date", "depmod", "dmesg", "echo", "env", "find", "grep", "head", "id",
    "insmod", "ln", "ls", "lsmod", "mkdir", "mknod", "modinfo", "modprobe", "mv", "ps", "pwd", "rm", "rmmod", "sed",
    "sleep", "sort", "tail", "tar", "test", "touch", "tr", "true", "uname", "wc",
)  # fmt: skip


class DebianToolkits:
    """Toolkit images made from Debian packages; safe to use from several threads."""

    def __init__(self, parts: DebianParts, *, packages_dir: Path, work_dir: Path) -> None:
        self._parts = parts
        self._locked = parts.locked
        self._downloads = Downloads(packages_dir)
        self._scratch = Path(tempfile.mkdtemp(prefix="toolkits-", dir=work_dir))
        (self._scratch / _POLICY_FILE).write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._pool = ThreadPoolExecutor(max_workers=_DOWNLOADS_AT_ONCE, thread_name_prefix="download")
        self._once = Once()
        self._numbers = itertools.count()
        self._present = set(list_images())

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._downloads.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def missing(self, kernels: Iterable[KernelVersion]) -> list[KernelVersion]:
        """Return the kernels whose toolkit is not in the container store."""
        return [kernel for kernel in kernels if self._parts.toolkit_image(kernel) not in self._present]

    def estimate_bytes(self, kernels: Iterable[KernelVersion]) -> ToolkitBytes:
        packages = {self._locked.packages[name] for kernel in self.missing(kernels) for name in self._names(kernel)}
        installed = sum(package.installed for package in packages)
        download = sum(package.size for package in packages if not self._downloads.has(package))
        return ToolkitBytes(installed=installed, download=download)

    def prefetch(self, kernels: Iterable[KernelVersion]) -> None:
        for kernel in self.missing(kernels):
            for name in self._names(kernel):
                self._pool.submit(self._package, name)

    def ensure(self, kernel: KernelVersion, wanted: Iterable[str] = ()) -> str:
        """Return the name of a kernel's toolkit image, which is in the store when this returns.

        With ``wanted``, of one that has these build packages as well, in a layer of their own.

        Raises:
            SourceGoneError: the archive no longer serves one of its packages.
            SourceUnreachableError: the archive does not answer.
            CommandError: the image could not be brought into the store.
        """
        wanted = tuple(wanted)
        name = self._parts.compile_image(kernel, wanted)
        if name not in self._present:
            packages = self._parts.build_package_names(kernel, wanted)
            self._once.get(("image", name), partial(self._make_toolkit, kernel, name, packages))
        return name

    def ensure_runtime(self, arch: Arch) -> str:
        name = self._parts.base_image(arch)
        if name not in self._present:
            self._once.get(("image", name), partial(self._make_runtime, arch, name))
        return name

    def ensure_packages(self, arch: Arch, wanted: Iterable[str]) -> str:
        """Return the name of the small base image with further packages, with the errors of ``ensure``."""
        wanted = tuple(wanted)
        name = self._parts.package_image(arch, wanted)
        if name not in self._present:
            self._once.get(("image", name), partial(self._make_runtime, arch, name, wanted))
        return name

    def _names(self, kernel: KernelVersion) -> list[str]:
        return [name for layer in self._parts.toolkit_packages(kernel) for name in layer]

    def _make_toolkit(self, kernel: KernelVersion, name: str, more: Sequence[str]) -> None:
        toolchain, *headers = self._parts.toolkit_packages(kernel)
        gcc = self._locked.kernels[kernel].toolchains[self._parts.build_arch].rpartition("-")[2]
        cross = _CROSS_PREFIX[kernel.arch] if kernel.arch is not self._parts.build_arch else None
        layers = [self._layer(toolchain, _toolchain_entries(gcc, cross))]
        layers += [self._layer(packages, ()) for packages in headers[:-1]]
        # No toolkit of another kernel has these headers: their file need not stay until all are made.
        own = self._write_layer(headers[-1], _kernel_entries(kernel))
        layers.append(own)
        layers += [self._layer(more, ())] if more else []
        environment = {"PATH": _PATH}
        if cross is not None:
            environment |= {"ARCH": _KERNEL_ARCH[kernel.arch], "CROSS_COMPILE": cross}
        labels = {
            "name": "kmodsmith-toolkit",
            "version": kernel.raw,
            KERNEL_LABEL: kernel.raw,
            TOOLKIT_LABEL: self._parts.toolkit_id(kernel),
        }
        self._import(name, layers, self._parts.build_arch, environment, labels)
        own.file.unlink()

    def _make_runtime(self, arch: Arch, name: str, wanted: Sequence[str] = ()) -> None:
        layers = [self._layer(self._parts.base_packages(arch), _runtime_entries())]
        if wanted:
            layers.append(self._layer(self._parts.image_package_names(arch, wanted), ()))
        labels = {"name": "kmodsmith-base", "version": name.rpartition("-")[2]}
        self._import(name, layers, arch, {"PATH": _PATH}, labels)

    def _layer(self, packages: Sequence[str], entries: Sequence[LayerEntry]) -> LayerBlob:
        key = ("layer", tuple(packages))
        return self._once.get(key, partial(self._write_layer, packages, entries))

    def _write_layer(self, packages: Sequence[str], entries: Sequence[LayerEntry]) -> LayerBlob:
        files = list(self._pool.map(self._package, packages))
        handle, file = tempfile.mkstemp(dir=self._scratch, suffix=".tar")
        os.close(handle)
        sizes = [self._locked.packages[name].installed for name in packages]
        return write_layer(Path(file), _members(zip(files, sizes, strict=True)), entries)

    def _package(self, name: str) -> Path:
        return self._once.get(("package", name), partial(self._downloads.fetch, self._locked.packages[name]))

    def _import(
        self, name: str, layers: list[LayerBlob], arch: Arch, environment: dict[str, str], labels: dict[str, str]
    ) -> None:
        # buildah makes a name out of the path it is given, and refuses paths that make no name (capitals, '_').
        path = f"{IMPORT_NAME}-{os.getpid()}-{next(self._numbers)}"
        write_image(self._scratch / path, layers, arch=arch.oci, environment=environment, labels=labels)
        run(Command(argv=(*_IMPORT, f"oci:{path}"), cwd=self._scratch)).check()
        # Named only now, when all of it is there: a killed run leaves no toolkit that looks complete.
        tag_image(f"localhost/{path}:latest", name)
        remove_images([f"localhost/{path}:latest"])
        shutil.rmtree(self._scratch / path)


def _members(packages: Iterable[tuple[Path, int]]) -> Iterator[tuple[TarInfo, bytes]]:
    for file, installed in packages:
        yield from read_members(file, installed=installed)


def _toolchain_entries(gcc: str, cross: str | None) -> list[LayerEntry]:
    entries = _root_entries()
    for prefix in ("", *([cross] if cross else [])):
        entries += [
            LayerEntry(path=f"usr/bin/{prefix}{name}", link=f"{prefix}{name}-{gcc}") for name in _COMPILER_NAMES
        ]
    return [*entries, LayerEntry(path="usr/bin/cc", link="gcc"), LayerEntry(path="usr/bin/awk", link="gawk")]


def _kernel_entries(kernel: KernelVersion) -> list[LayerEntry]:
    # The keys are the Driver Toolkit's. A Debian toolkit holds one kernel, so an rt toolkit names it in both.
    release = {
        "KERNEL_VERSION": kernel.raw,
        "RT_KERNEL_VERSION": kernel.raw if kernel.variant is Variant.RT else "",
        "RHEL_VERSION": "",
    }
    return [
        LayerEntry(path="etc/driver-toolkit-release.json", content=f"{json.dumps(release)}\n".encode()),
        LayerEntry(path="usr/local/bin/pahole", content=_PAHOLE, mode=0o755),
        LayerEntry(path=f"usr/src/kernels/{kernel.raw}", link=f"../linux-headers-{kernel.raw}"),
        LayerEntry(path=f"usr/lib/modules/{kernel.raw}/config", link="build/.config"),
    ]


def _runtime_entries() -> list[LayerEntry]:
    return [*_root_entries(), *(LayerEntry(path=f"usr/bin/{name}", link="busybox") for name in _BUSYBOX_NAMES)]


def _root_entries() -> list[LayerEntry]:
    """Return what the packages' installation scripts, which are not run, would have made."""
    return [
        *(LayerEntry(path=name, link=f"usr/{name}") for name in MERGED_FOLDERS),
        *(LayerEntry(path=name) for name in ("dev", "etc", "proc", "root", "run", "sys", "tmp", "var", "var/tmp")),
        LayerEntry(path="etc/passwd", content=b"root:x:0:0:root:/root:/bin/sh\n"),
        LayerEntry(path="etc/group", content=b"root:x:0:\n"),
    ]
