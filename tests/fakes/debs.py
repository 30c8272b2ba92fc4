"""Debian packages made by hand."""

from __future__ import annotations

import io
import lzma
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mtime, member.uid, member.uname = kind, link, 1234567, 1000, "jo"
    return member


def make_deb(file: Path, *members: tuple[tarfile.TarInfo, bytes], name: str = "data.tar.xz") -> Path:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    packed = lzma.compress(data.getvalue()) if name.endswith(".xz") else data.getvalue()
    parts = [("debian-binary", b"2.0\n"), ("control.tar", b""), (name, packed)]
    ar = b"!<arch>\n"
    for part, content in parts:
        ar += (
            f"{part:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
            + content
            + b"\n" * (len(content) % 2)
        )
    file.write_bytes(ar)
    return file
