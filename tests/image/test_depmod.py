"""What depmod wrote: its binary indices, and whether they say the same of our own modules."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from fakes.results import KERNEL

from builder.errors import FormatError
from builder.image.depmod import check_depmod_data, make_depmod_data, read_index
from builder.kmod.finding import Check

if TYPE_CHECKING:
    from collections.abc import Mapping


# modules.dep.bin as depmod (kmod 30) writes it for the two modules of tests/data/modules.
_REAL_INDEX = bytes.fromhex(
    "b007f4570002000120000099617200000000010000000065787472612f7074656d706c6174655f636861722e6b6f3a206578"
    "7472612f7074656d706c6174655f636f72652e6b6f00726500000000010000000165787472612f7074656d706c6174655f63"
    "6f72652e6b6f3a0074656d706c6174655f6300686fc000000c000000000000000000000000000000000000000000000000c0"
    "0000487070a000006c"
)


def _index(entries: Mapping[str, str]) -> bytes:
    """Write an index file of keys that begin with different letters."""
    first, last = min(entries)[0], max(entries)[0]
    nodes = {key[0]: key[1:].encode() + b"\0" + struct.pack(">II", 1, 0) + value.encode() + b"\0" for key, value in entries.items()}  # fmt: skip
    table, body, place = b"", b"", 12 + 2 + 4 * (ord(last) - ord(first) + 1)
    for number in range(ord(first), ord(last) + 1):
        node = nodes.get(chr(number), b"")
        table += struct.pack(">I", 0xC0000000 | (place + len(body)) if node else 0)
        body += node
    return struct.pack(">IIIBB", 0xB007F457, 0x00020001, 0x20000000 | 12, ord(first), ord(last)) + table + body


def test_an_index_of_depmod_is_read() -> None:
    assert read_index(_REAL_INDEX) == {
        b"ptemplate_core extra/ptemplate_core.ko:",
        b"ptemplate_char extra/ptemplate_char.ko: extra/ptemplate_core.ko",
    }
    assert read_index(_index({"demo": "extra/demo.ko:", "x": "y"})) == {b"demo extra/demo.ko:", b"x y"}
    circle = struct.pack(">III", 0xB007F457, 0x00020001, 0x20000000 | 12) + b"aa" + struct.pack(">I", 0x20000000 | 12)
    for wrong in (b"", b"no index", _REAL_INDEX[:-5], circle, _REAL_INDEX.replace(b"\0", b"x")):
        assert read_index(wrong) == set()


def test_data_that_covers_the_kernel_must_be_right_of_our_own_modules() -> None:
    text = b"extra/demo.ko:\nhost/kernel/x.ko:\n"
    made = {"modules.dep": b"extra/demo.ko:\n", "modules.dep.bin": _index({"demo": "extra/demo.ko:"})}
    good = {"modules.dep": text, "modules.dep.bin": _index({"demo": "extra/demo.ko:", "x": "host/kernel/x.ko:"})}

    def codes(found: Mapping[str, bytes]) -> list[str]:
        return [item.subject for item in check_depmod_data(found, made, "f") if item.check is Check.DEPMOD_DIFFERS]

    assert codes(good) == []
    assert codes(good | {"modules.dep.bin": _index({"demo": "extra/other.ko:"})}) == ["f/modules.dep.bin"]
    assert codes(good | {"modules.dep.bin": b""}) == ["f/modules.dep.bin"]
    node = b"emo\0" + struct.pack(">II", 2, 0) + b"extra/demo.ko:\0" + struct.pack(">I", 1) + b"/srv/demo.ko:\0"
    twice = struct.pack(">IIIBBI", 0xB007F457, 0x00020001, 0x20000000 | 12, 100, 100, 0xC0000000 | 18) + node
    assert codes(good | {"modules.dep.bin": twice}) == ["f/modules.dep.bin"], "the one of higher priority counts"
    assert codes(good | {"modules.dep": text + b"extra/demo.ko: host/kernel/x.ko\n"}) == ["f/modules.dep"]


@pytest.mark.parametrize("path", ["/etc/demo.ko", "../demo.ko", "modules.alias/demo.ko"])
def test_depmod_gets_no_module_in_a_place_of_its_own(path: str) -> None:
    with pytest.raises(FormatError, match="no place for a module"):
        make_depmod_data({path: b""}, {}, KERNEL)
