"""Compressed modules (``.ko.xz``, ``.ko.zst``, ``.ko.gz``), bounded, and as kernels can read them. Pure."""

from __future__ import annotations

import gzip
import lzma
import zlib
from typing import TYPE_CHECKING

from builder.compression import zstd
from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

MODULE_SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
# The largest module of RHEL and Debian is below 20 MiB; with debugging information, below 200.
_LARGEST_MODULE = 512 * 1024**2


def is_module(path: str) -> bool:
    return path.endswith(MODULE_SUFFIXES)


def unpack_module(data: bytes, path: str) -> bytes:
    """Return a module without its compression.

    Raises:
        FormatError: damaged, or larger than any module can be.
    """
    suffix = path[path.rfind(".ko") + 3 :]
    if not suffix:
        return data
    try:
        unpacked = _UNPACK[suffix](data)
    except (lzma.LZMAError, zlib.error, zstd.ZstdError, EOFError, ValueError) as error:
        raise FormatError(f"its {suffix[1:]} compression is damaged: {error}") from None
    if len(unpacked) > _LARGEST_MODULE:
        raise FormatError(f"it unpacks to more than {_LARGEST_MODULE >> 20} MiB")
    return unpacked


def pack_module(data: bytes, compression: str) -> bytes:
    """Compress a module as the kernel's own build does (scripts/Makefile.modinst); the same input, the same bytes.

    ``compression`` is ``xz``, ``zst`` or ``gz``. The kernel's own XZ reader knows no checksum but CRC32 and, for
    modules, no dictionary above 2 MiB.
    """
    match compression:
        case "xz":
            filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 2 * 1024**2}]
            return lzma.compress(data, check=lzma.CHECK_CRC32, filters=filters)
        case "zst":
            return bytes(zstd.compress(data, level=19))
        case "gz":
            return gzip.compress(data, 9, mtime=0)
    raise ValueError(compression)


def _unpack_xz(data: bytes) -> bytes:
    reader = lzma.LZMADecompressor(memlimit=256 * 1024**2)
    return _finish(reader.decompress(data, _LARGEST_MODULE + 1), at_end=reader.eof)


def _unpack_gz(data: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    return _finish(reader.decompress(data, _LARGEST_MODULE + 1), at_end=reader.eof)


def _unpack_zst(data: bytes) -> bytes:
    reader = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 27})
    return _finish(reader.decompress(data, _LARGEST_MODULE + 1), at_end=reader.eof)


def _finish(unpacked: bytes, *, at_end: bool) -> bytes:
    if not at_end and len(unpacked) <= _LARGEST_MODULE:
        raise EOFError("it is cut off")
    return unpacked


_UNPACK: dict[str, Callable[[bytes], bytes]] = {".xz": _unpack_xz, ".zst": _unpack_zst, ".gz": _unpack_gz}
