"""Takes the kernel out of an x86 boot image, so that no guest spends its first two seconds on unpacking it.

Format: Documentation/arch/x86/boot.rst, fields ``setup_sects``, ``payload_offset`` and ``payload_length``. Pure.
"""

from __future__ import annotations

import lzma
import struct
import zlib

from builder.compression import zstd
from builder.errors import FormatError

_MAGIC = b"HdrS"
_SECTOR = 512
_DEFAULT_SECTORS = 4
_PAYLOAD_SINCE = 0x0208
_LARGEST = 512 * 1024**2
_XZ, _ZSTD, _GZIP, _ELF = b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\x7fELF"


def unpack_kernel(image: bytes) -> bytes:
    """Return the ELF kernel inside a bzImage.

    Raises:
        FormatError: it is none, or packed in a way that is not known here.
    """
    try:
        if image[0x202:0x206] != _MAGIC or struct.unpack_from("<H", image, 0x206)[0] < _PAYLOAD_SINCE:
            raise FormatError("the kernel is not a bzImage with a payload")
        sectors = image[0x1F1] or _DEFAULT_SECTORS
        offset, length = struct.unpack_from("<II", image, 0x248)
        start = (sectors + 1) * _SECTOR + offset
        kernel = _unpack(image[start : start + length])
    except (struct.error, IndexError, lzma.LZMAError, zlib.error, zstd.ZstdError) as error:
        raise FormatError(f"the kernel image is damaged: {error}") from None
    if not kernel.startswith(_ELF):
        raise FormatError("what is packed in the kernel image is no ELF kernel")
    return kernel


def _unpack(payload: bytes) -> bytes:
    unpacker: lzma.LZMADecompressor | zstd.ZstdDecompressor | zlib._Decompress
    if payload.startswith(_XZ):
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    elif payload.startswith(_ZSTD):
        unpacker = zstd.ZstdDecompressor()
    elif payload.startswith(_GZIP):
        unpacker = zlib.decompressobj(wbits=31)
    else:
        raise FormatError(f"the kernel is packed in a way that is not known here ({payload[:6].hex()})")
    kernel = unpacker.decompress(payload, _LARGEST)
    if not unpacker.eof:
        raise FormatError("what is packed in the kernel image is cut off, or larger than any kernel")
    return kernel
