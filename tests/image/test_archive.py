"""Archives of others: what tar's extensions may say, what may be packed how tightly, and how much there may be."""

from __future__ import annotations

import binascii
import gzip
import io
import lzma
import tarfile
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from backports import zstd

from builder.image import archive
from builder.image.archive import BROKEN, ArchiveError, read_tar

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 2**32


def _header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def _extended(body: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return _header("x", kind, len(body)) + body + bytes(-len(body) % 512)


def _record(text: bytes) -> bytes:
    length = len(text) + 4
    while len(b"%d %b\n" % (length, text)) != length:
        length = len(b"%d %b\n" % (length, text))
    return b"%d %b\n" % (length, text)


def _read(data: bytes, *, most: int = _MOST, may_be_packed: bool = True) -> dict[str, bytes]:
    stream = io.BytesIO(data)
    return {
        member.name: content.read_all() if member.isreg() else member.linkname.encode()
        for member, content in read_tar(stream, most=most, may_be_packed=may_be_packed)
    }


_FILE = _header("a", size=3) + b"abc".ljust(512, b"\0")
_END = bytes(1024)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, zstd.compress])
def test_reads_what_tar_writes(form: int, pack: Callable[[bytes], bytes]) -> None:
    data = io.BytesIO()
    folder = f"{'f' * 60}/{'g' * 60}"
    long = "" if form == tarfile.USTAR_FORMAT else "é" * 60
    wanted = {f"{folder}/{long}name": b"x" * 2000, "empty": b"", "last": bytes(512)}
    with tarfile.open(fileobj=data, mode="w", format=form) as written:
        for name, content in wanted.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            written.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "empty" if form == tarfile.USTAR_FORMAT else "t/" * 80
        written.addfile(link)
    assert _read(pack(data.getvalue())) == wanted | {"link": link.linkname.encode()}


def test_contents_that_nobody_reads_are_passed_over() -> None:
    names = [member.name for member, _ in read_tar(io.BytesIO(_FILE * 3 + _END), most=_MOST)]
    assert names == ["a", "a", "a"]


_SPARSE = bytearray(_header("s", tarfile.GNUTYPE_SPARSE, 512))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"no archive" * 100, "header"),
        (_FILE[:514], "it is cut off"),
        (_header("a", size=-1) + _END, "less than no bytes"),
        (bytes(_SPARSE) + bytes(512) + _END, "a sparse file"),
        (_extended(_record(b"GNU.sparse.major=1")) + _FILE + _END, "a sparse file"),
        (_extended(_record(b"GNU.sparse.size=99999999999")) + _FILE + _END, "a sparse file"),
        (_extended(_record(b"GNU.sparse.map=0,1")) + _FILE + _END, "a sparse file"),
        (_extended(_record(b"size=" + b"9" * 40)) + _FILE + _END, "claims '9999"),
        (_extended(_record(b"size=-5")) + _FILE + _END, "claims '-5'"),
        (_extended(_record(b"path=" + b"n" * 5000)) + _FILE + _END, "a name in it has 5000 bytes"),
        (_extended(b"n" * 5000, tarfile.GNUTYPE_LONGNAME) + _FILE + _END, "a name in it has 5000 bytes"),
        (_extended(bytes(2 * 1024**2), tarfile.GNUTYPE_LONGNAME) + _FILE + _END, "header in it has 2097152 bytes"),
        (_header("x", tarfile.XHDTYPE, 2**33) + _FILE, "header in it has 8589934592 bytes"),
        (_extended(b"9999 path=a\n") + _FILE + _END, "a damaged pax header"),
        (_extended(b"1" * 8000) + _FILE + _END, "a damaged pax header"),
        (_extended(b"0 path=a\n") + _FILE + _END, "a damaged pax header"),
        (_extended(_record(b"path=b")) * 17 + _FILE + _END, "headers of extended headers"),
        (_extended(_record(b"path=b")) + _END, "in the middle of a file's headers"),
        (gzip.compress(_FILE + _END, mtime=0)[:60], "ended before"),
        (lzma.compress(_FILE + _END)[:60], "cut off"),
    ],
)
def test_what_no_archive_should_hold(data: bytes, words: str) -> None:
    with pytest.raises(BROKEN, match=words):
        _read(data)


def test_headers_about_the_whole_archive_are_passed_over() -> None:
    note = _extended(_record(b"comment=" + b"c" * 300), tarfile.XGLTYPE)
    assert _read(note + _FILE + _END) == {"a": b"abc"}
    with pytest.raises(ArchiveError, match="sets path for all files"):
        _read(_extended(_record(b"path=evil"), tarfile.XGLTYPE) + _FILE + _END)


def test_names_of_extended_attributes_are_told() -> None:
    data = _extended(_record(b"SCHILY.xattr.user.a=" + bytes(5000))) + _FILE + _FILE + _END
    found = [dict(member.pax_headers) for member, _ in read_tar(io.BytesIO(data), most=_MOST)]
    assert found == [{"SCHILY.xattr.user.a": ""}, {}]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd.compress])
def test_a_bomb_is_given_up(pack: Callable[[bytes], bytes]) -> None:
    """A megabyte of zeros stands for a terabyte: what counts is how much comes out of how little."""
    data = pack(_header("a", size=10**6) + bytes(10**6) + _END)
    assert _read(data).keys() == {"a"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "_ALWAYS", 1000)
        with pytest.raises(ArchiveError, match="unpacks to more than it should"):
            _read(data)
        # Who is believed said before how much it is: firmware is nearly nothing but zeros.
        packed = io.BytesIO(data)
        assert [member.name for member, _ in read_tar(packed, most=_MOST, told=10**6 + 2048)] == ["a"]
        with pytest.raises(ArchiveError, match="unpacks to more than it should"):
            list(read_tar(io.BytesIO(data), most=_MOST, told=10**5))


def test_it_may_not_unpack_to_more_than_was_said() -> None:
    with pytest.raises(ArchiveError, match="unpacks to more than it should"):
        _read(_FILE * 10 + _END, most=4000)


def test_an_xz_dictionary_may_not_be_as_large_as_it_likes() -> None:
    """The size is changed by hand: making such a file would take as much memory as reading it."""
    data = bytearray(lzma.compress(_FILE + _END))
    length = (data[12] + 1) * 4
    data[data.index(b"\x21\x01", 12) + 2] = 36  # 1 GiB
    data[8 + length : 12 + length] = binascii.crc32(data[12 : 8 + length]).to_bytes(4, "little")
    with pytest.raises(lzma.LZMAError, match="[Mm]emory"):
        _read(bytes(data))


def test_compression_is_not_looked_for_where_there_is_none() -> None:
    with pytest.raises(BROKEN):
        _read(gzip.compress(_FILE + _END, mtime=0), may_be_packed=False)


def test_there_may_not_be_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MOST_MEMBERS", 5)
    with pytest.raises(ArchiveError, match="more than 5 files"):
        _read(_FILE * 6 + _END)
    monkeypatch.setattr(archive, "_MOST_NAMES", 100)
    with pytest.raises(ArchiveError, match="the names in it"):
        _read(_extended(_record(b"path=" + b"n" * 200)) + _FILE + _END)


def test_a_small_layer_needs_little_memory_and_time() -> None:
    """0.1 MB with long pax and GNU headers, which tarfile made a gigabyte of."""
    name = _extended(_record(b"comment=" + b"1" * 900_000) + _record(b"path=b"))
    data = gzip.compress((name + _FILE) * 8 + _END, 1, mtime=0)
    started = time.process_time()
    tracemalloc.start()
    assert _read(data) == {"b": b"abc"}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 1024**2
    assert time.process_time() - started < 5.0
