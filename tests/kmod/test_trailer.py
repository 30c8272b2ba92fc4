from __future__ import annotations

import pytest

from builder.errors import FormatError
from builder.kmod.trailer import join_trailer, split_trailer

_MAGIC = b"~Module signature appended~\n"
_SIGNED = join_trailer(b"module", b"pkcs7")


def test_what_is_joined_is_split() -> None:
    assert split_trailer(_SIGNED) == (b"module", b"pkcs7")
    assert split_trailer(b"module") == (b"module", b"")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (_MAGIC, "cut off"),
        (_SIGNED.replace(b"\0\0\x02", b"\0\0\x01"), "not of the PKCS#7 kind"),
        (_SIGNED.replace(b"\0\0\0\x05", b"\0\0\xff\xff"), "claims a length of 65535 bytes"),
        (_SIGNED.replace(b"\0\0\0\x05", b"\0\0\0\0"), "claims a length of 0 bytes"),
    ],
)
def test_what_kernels_would_not_read_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        split_trailer(data)
