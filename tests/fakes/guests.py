"""What goes into a guest, and what a machine has for guests."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


ELF_KERNEL = b"\x7fELF" + bytes(60)
# A QEMU whose KVM has no SMM, which Secure Boot needs; what it answers to a probe otherwise is 43.
NO_SMM = 'case "$*" in *smm=on*) echo "System Management Mode not supported" >&2; exit 1 ;; esac; exit 43'


def make_bzimage(payload: bytes, *, magic: bytes = b"HdrS", version: int = 0x20F) -> bytes:
    image = bytearray(0x400 + 512)
    image[0x1F1] = 1
    image[0x202:0x206] = magic
    struct.pack_into("<H", image, 0x206, version)
    struct.pack_into("<II", image, 0x248, 16, len(payload))
    place = 2 * 512 + 16
    return bytes(image[:place]).ljust(place, b"\0") + payload


def read_initramfs(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Read "newc" as the kernel does (init/initramfs.c)."""
    files: dict[str, tuple[int, bytes]] = {}
    place = 0
    while True:
        assert data[place : place + 6] == b"070701"
        fields = [int(data[place + 6 + 8 * n : place + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[place + 110 : place + 110 + name_size - 1].decode()
        place += (110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return files
        files[name] = (mode, data[place : place + size])
        place += (size + 3) // 4 * 4


def describe_firmware(folder: Path, name: str, **changes: Any) -> None:
    code, variables = folder / f"{name}.code", folder / f"{name}.vars"
    code.write_bytes(b"x")
    variables.write_bytes(b"x")
    data: dict[str, Any] = {
        "mapping": {
            "executable": {"filename": str(code), "format": "raw"},
            "nvram-template": {"filename": str(variables), "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": ["secure-boot", "requires-smm"],
    }
    (folder / f"{name}.json").write_text(json.dumps(data | changes))
