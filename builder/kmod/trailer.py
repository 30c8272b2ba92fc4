"""How a signature hangs on a module: the PKCS#7, a trailer with its length, and a magic text. Pure.

Source: Linux, include/linux/module_signature.h (struct module_signature) and kernel/module/signing.c.
"""

from __future__ import annotations

import struct

from builder.errors import FormatError

_MAGIC = b"~Module signature appended~\n"
_TRAILER = struct.Struct(">BBBBB3xI")
_PKEY_ID_PKCS7 = 2
# The largest that sign-file makes is below 2 KiB for each signer.
_LARGEST_SIGNATURE = 64 * 1024


def split_trailer(data: bytes) -> tuple[bytes, bytes]:
    """Return a module, uncompressed, without its signature, and that as it is; empty where there is none.

    Raises:
        FormatError: there is a signature, but a damaged one or one that kernels would not read.
    """
    if not data.endswith(_MAGIC):
        return data, b""
    end = len(data) - len(_MAGIC) - _TRAILER.size
    if end < 0:
        raise FormatError("its signature is cut off")
    algorithm, hash_id, kind, signer_length, key_length, length = _TRAILER.unpack_from(data, end)
    if (algorithm, hash_id, kind, signer_length, key_length) != (0, 0, _PKEY_ID_PKCS7, 0, 0):
        raise FormatError("its signature is not of the PKCS#7 kind, the only one that kernels read")
    if not 0 < length <= min(end, _LARGEST_SIGNATURE):
        raise FormatError(f"its signature claims a length of {length} bytes")
    return data[: end - length], data[end - length : end]


def join_trailer(content: bytes, pkcs7: bytes) -> bytes:
    """Return a module with a signature appended."""
    return content + pkcs7 + _TRAILER.pack(0, 0, _PKEY_ID_PKCS7, 0, 0, len(pkcs7)) + _MAGIC
