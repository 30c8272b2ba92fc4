"""Kernels in boot images; real ones are in the tests with real tools."""

from __future__ import annotations

import gzip
import lzma
from typing import TYPE_CHECKING

import pytest
from fakes.guests import ELF_KERNEL, make_bzimage

from builder.boot.bzimage import unpack_kernel
from builder.compression import zstd
from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

_packings = pytest.mark.parametrize("pack", [lzma.compress, zstd.compress, gzip.compress], ids=["xz", "zstd", "gzip"])


@_packings
def test_a_kernel_is_taken_out_of_its_boot_image(pack: Callable[[bytes], bytes]) -> None:
    size = len(ELF_KERNEL).to_bytes(4, "little")  # Kbuild writes it behind the kernel
    assert unpack_kernel(make_bzimage(pack(ELF_KERNEL) + size)) == ELF_KERNEL


def test_a_boot_image_of_no_set_up_sectors_has_four() -> None:
    image = make_bzimage(gzip.compress(ELF_KERNEL))
    old = image[:0x1F1] + b"\0" + image[0x1F2 : 2 * 512] + bytes(3 * 512) + image[2 * 512 :]
    assert unpack_kernel(old) == ELF_KERNEL


@_packings
def test_a_kernel_that_is_cut_off_is_none(pack: Callable[[bytes], bytes]) -> None:
    """Unpackers give what there is, and its first bytes are those of a kernel."""
    packed = pack(ELF_KERNEL + bytes(range(256)) * 8)
    for length in range(len(packed)):
        with pytest.raises(FormatError):
            unpack_kernel(make_bzimage(packed[:length]))


@_packings
def test_what_unpacks_to_more_than_any_kernel_is_none(
    pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.boot.bzimage._LARGEST", len(ELF_KERNEL))
    with pytest.raises(FormatError, match="larger than any kernel"):
        unpack_kernel(make_bzimage(pack(ELF_KERNEL + b"\0")))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (b"", "not a bzImage"),
        (make_bzimage(lzma.compress(ELF_KERNEL), magic=b"xxxx"), "not a bzImage"),
        (make_bzimage(lzma.compress(ELF_KERNEL), version=0x207), "not a bzImage"),
        (make_bzimage(b"")[:0x24C], "damaged"),
        (make_bzimage(b"LZO?" + bytes(40)), "not known here"),
        (make_bzimage(lzma.compress(b"text")), "no ELF kernel"),
        (make_bzimage(lzma.compress(ELF_KERNEL)[:-20] + bytes(20)), "damaged"),
    ],
)
def test_what_is_no_boot_image(image: bytes, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        unpack_kernel(image)
