"""Reading .deb files and writing layers and images out of them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fakes.debs import make_deb, make_member
from fakes.project import make_source
from fakes.samples import Sample

from builder.boot.kernel_image import SourceKernels
from builder.errors import FormatError
from builder.kernel import Arch, parse_kernel_version
from builder.sources.debian.kernels import PackagedKernels
from builder.sources.debian.parts import DebianParts
from builder.sources.download import Downloads

if TYPE_CHECKING:
    import tarfile
    from pathlib import Path

    from builder.sources.download import LockedFile


def _kernel_images(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> tuple[SourceKernels, list[int]]:
    """A source whose only kernel's package holds these members, and a count of how often it was fetched."""
    deb = make_deb(tmp_path / "image.deb", *members)
    fetched: list[int] = []

    class Counting(Downloads):
        def fetch(self, package: LockedFile) -> Path:
            fetched.append(1)
            copy = tmp_path / "fetched.deb"
            copy.write_bytes(deb.read_bytes())
            return copy

        def drop(self, package: LockedFile) -> None:
            (tmp_path / "fetched.deb").unlink()

    raw = "6.12.5+deb12-amd64"
    source = make_source(raw)
    kernels = {kernel: row.model_copy(update={"image": "gcc"}) for kernel, row in source.kernels.items()}
    locked = source.model_copy(update={"kernels": kernels})
    parts = DebianParts(locked=locked, build_arch=Arch.X86_64)
    kernels_of_source = PackagedKernels(parts, folder=tmp_path / "boot", downloads=Counting(tmp_path))
    return SourceKernels(kernels_of_source), fetched


_RAW = "6.12.5+deb12-amd64"
_BOOT = (
    (make_member(f"./boot/config-{_RAW}"), b"CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\n"),
    (make_member(f"./boot/vmlinuz-{_RAW}"), b"kernel"),
)


def test_a_kernel_is_fetched_once_by_many_threads_and_the_package_is_not_kept(tmp_path: Path) -> None:
    images, fetched = _kernel_images(tmp_path, *_BOOT)
    kernel = parse_kernel_version(_RAW)
    assert images.missing_bytes(kernel) > 0
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: images.of(kernel), range(16)))
    assert len(fetched) == 1
    assert images.missing_bytes(kernel) == 0
    assert {item.vmlinuz.read_bytes() for item in found} == {b"kernel"}
    assert found[0].settings == {"CONFIG_A"}
    assert not (tmp_path / "fetched.deb").exists()


def test_modules_that_are_asked_for_first_do_not_stand_for_the_kernel(tmp_path: Path) -> None:
    path = f"./lib/modules/{_RAW}/kernel/lib/crc-itu-t.ko"
    images, _ = _kernel_images(tmp_path, *_BOOT, (make_member(path), Sample(name="crc_itu_t").write()))
    kernel = parse_kernel_version(_RAW)
    assert [name for name, _ in images.in_tree(kernel, ["crc_itu_t"])] == ["crc_itu_t"]
    assert images.of(kernel).vmlinuz.read_bytes() == b"kernel"


def test_the_kernels_own_modules_come_out_of_its_package(tmp_path: Path) -> None:
    path = f"./lib/modules/{_RAW}/kernel/lib"
    modules = (
        (make_member(f"{path}/crc-itu-t.ko"), Sample(name="crc_itu_t").write()),
        (make_member(f"{path}/other.ko"), b"x"),
    )
    images, fetched = _kernel_images(tmp_path, *_BOOT, *modules)
    kernel = parse_kernel_version(_RAW)
    images.of(kernel)
    for _ in range(2):
        assert [name for name, _ in images.in_tree(kernel, ["crc_itu_t", "built_in"])] == ["crc_itu_t"]
    assert len(fetched) == 2
    assert images.in_tree(kernel, []) == []


def test_a_package_without_a_kernel(tmp_path: Path) -> None:
    images, _ = _kernel_images(tmp_path, _BOOT[0])
    with pytest.raises(FormatError, match=f"has no boot/vmlinuz-{re.escape(_RAW)}"):
        images.of(parse_kernel_version(_RAW))
