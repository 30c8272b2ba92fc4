"""Kernels of a source and of an operating system image, ready to be booted."""

from __future__ import annotations

import lzma
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from fakes.guests import ELF_KERNEL, make_bzimage
from fakes.samples import Sample

from builder.boot.kernel_image import BootKernel, OsImageKernels, SourceKernels, unpacked_kernel
from builder.errors import FormatError
from builder.host.bounds import Limits
from builder.kernel import parse_kernel_version
from builder.sources.kernels import OS_KERNEL_BYTES
from builder.store.jail import Jail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.kernel import KernelVersion

_KERNEL = parse_kernel_version("6.12.5+deb12-amd64")
_ON_ARM = parse_kernel_version("6.12.5+deb12-arm64")
_CONFIG = "# CONFIG_KVM is not set\nCONFIG_PVH=y\nCONFIG_EFI=y\nCONFIG_NET=m\nCONFIG_HZ=250\n"
_DIGEST = "ab" * 32


def _fill(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "vmlinuz").write_bytes(make_bzimage(lzma.compress(ELF_KERNEL)))
    (folder / "config").write_text(_CONFIG)
    (folder / "one.ko").write_bytes(Sample(name="one", depends="two").write())
    (folder / "two.ko").write_bytes(Sample(name="two", modinfo=["alias=second-*"]).write())
    return folder


@dataclass
class _Source:
    """A kernel source with one kernel in a folder; ``read`` are those whose modules were gone through."""

    folder: Path
    read: list[KernelVersion] = field(default_factory=list)

    def close(self) -> None:
        raise NotImplementedError

    def identity_of(self, kernel: KernelVersion) -> str:
        return f"identity of {kernel}"

    def missing_bytes(self, kernel: KernelVersion) -> int:
        return 7

    def ensure(self, kernel: KernelVersion) -> Path:
        return self.folder

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        return [(name, b"ko") for name in names]

    def module_files(self, kernel: KernelVersion) -> Iterator[tuple[str, bytes]]:
        self.read.append(kernel)
        yield "kernel/one.ko", (self.folder / "one.ko").read_bytes()


def test_a_kernel_of_a_source_comes_with_what_its_configuration_builds_in(tmp_path: Path) -> None:
    images = SourceKernels(_Source(_fill(tmp_path / "kernel")))
    kernel = images.of(_KERNEL)
    assert kernel.vmlinuz == tmp_path / "kernel" / "vmlinuz"
    assert kernel.settings == {"CONFIG_PVH", "CONFIG_EFI"}
    assert kernel.identity == images.identity_of(_KERNEL) == f"identity of {_KERNEL}"
    assert images.missing_bytes(_KERNEL) == 7
    assert images.in_tree(_KERNEL, ["one"]) == [("one", b"ko")]


def test_a_kernel_without_a_configuration_is_damaged(tmp_path: Path) -> None:
    (_fill(tmp_path / "kernel") / "config").unlink()
    with pytest.raises(FormatError, match="the configuration of kernel .* cannot be read: No such file"):
        SourceKernels(_Source(tmp_path / "kernel")).of(_KERNEL)


def test_what_modules_say_is_gone_through_once_for_a_kernel(tmp_path: Path) -> None:
    source = _Source(_fill(tmp_path / "kernel"))
    first, again = SourceKernels(source).index(_KERNEL), SourceKernels(source).index(_KERNEL)
    assert list(first.modules) == list(again.modules) == ["one"]
    assert source.read == [_KERNEL]


@pytest.fixture
def os_image(fake_tools: FakeTools, tmp_path: Path) -> OsImageKernels:
    """An operating system image of the store whose kernel is in the cache already."""
    fake_tools.add("buildah", f'[ "$1" = inspect ] || exit 1; echo sha256:{_DIGEST}')
    _fill(tmp_path / _DIGEST / _KERNEL.raw)
    jail = Jail(Limits(memory_bytes=2**30, processes=100, disk_bytes=2**31))
    return OsImageKernels("localhost/os:1", folder=tmp_path, jail=jail)


def test_a_kernel_of_an_operating_system_goes_by_the_images_digest(os_image: OsImageKernels, tmp_path: Path) -> None:
    kernel = os_image.of(_KERNEL)
    assert kernel.identity == _DIGEST
    assert kernel.settings == {"CONFIG_PVH", "CONFIG_EFI"}
    assert kernel.vmlinuz == tmp_path / _DIGEST / _KERNEL.raw / "vmlinuz"
    assert [name for name, _ in os_image.in_tree(_KERNEL, ["one"])] == ["two", "one"]
    index = os_image.index(_KERNEL)
    assert (list(index.modules), index.by_alias("second_one")) == (["one", "two"], ["two"])


def test_room_is_taken_only_by_a_kernel_that_is_not_there(
    os_image: OsImageKernels, fake_tools: FakeTools, tmp_path: Path
) -> None:
    assert os_image.missing_bytes(_KERNEL) == 0
    assert os_image.missing_bytes(_ON_ARM) == OS_KERNEL_BYTES
    fake_tools.add("buildah", f"echo sha256:{'cd' * 32}")
    assert os_image.missing_bytes(_KERNEL) == OS_KERNEL_BYTES, "the same name stands for another image now"


@pytest.fixture
def boot_kernel(tmp_path: Path) -> BootKernel:
    vmlinuz = _fill(tmp_path / "kernel") / "vmlinuz"
    return BootKernel(kernel=_KERNEL, vmlinuz=vmlinuz, settings=frozenset({"CONFIG_PVH"}), identity="x")


def test_a_kernel_is_unpacked_once(boot_kernel: BootKernel) -> None:
    file = unpacked_kernel(boot_kernel)
    assert (file.name, file.read_bytes()) == ("vmlinux", ELF_KERNEL)
    boot_kernel.vmlinuz.unlink()
    assert unpacked_kernel(boot_kernel) == file


def test_a_kernel_that_qemu_could_not_start_unpacked_is_started_as_it_is(boot_kernel: BootKernel) -> None:
    for kernel in (replace(boot_kernel, settings=frozenset()), replace(boot_kernel, kernel=_ON_ARM)):
        assert unpacked_kernel(kernel) == boot_kernel.vmlinuz
    boot_kernel.vmlinuz.write_bytes(b"odd")
    assert unpacked_kernel(boot_kernel) == boot_kernel.vmlinuz
    assert not boot_kernel.vmlinuz.with_name("vmlinux").exists()
