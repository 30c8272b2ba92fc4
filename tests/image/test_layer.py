"""Single files of a layer that comes over the network: whole and bounded, or none of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from builder.errors import FormatError, KmodsmithError, SourceError, SourceUnreachableError
from builder.image import layer as layer_module
from builder.image.layer import read_layer_files, whiteouts_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def _pack(*members: tuple[str, bytes, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(data.getvalue(), mtime=0)


_LAYER = _pack(
    ("./etc/os-release", tarfile.REGTYPE, b"ID=rhel\n"),
    ("etc/other", tarfile.REGTYPE, b"x" * 2000),
    ("etc/link", tarfile.SYMTYPE, b""),
)
_DIGEST = f"sha256:{hashlib.sha256(_LAYER).hexdigest()}"


def _chunks(data: bytes, size: int = 7) -> Iterator[bytes]:
    return (data[place : place + size] for place in range(0, len(data), size))


def _read(wanted: str, data: bytes = _LAYER, *, digest: str = _DIGEST, size: int = len(_LAYER)) -> dict[str, bytes]:
    return read_layer_files(_chunks(data), {wanted}, digest=digest, size=size)


def test_wanted_files_are_read_and_no_others() -> None:
    assert _read("etc/os-release") == {"etc/os-release": b"ID=rhel\n"}
    assert _read("etc/absent") == {}


@pytest.mark.parametrize(
    ("data", "digest", "kind", "words"),
    [
        (_LAYER[:-9], _DIGEST, SourceUnreachableError, "ended after"),
        (_LAYER, f"sha256:{'0' * 64}", SourceError, "is damaged"),
        (_LAYER[:20] + b"\xff" * 9 + _LAYER[29:], _DIGEST, SourceError, "is damaged"),
    ],
)
def test_files_of_a_layer_that_is_not_whole_are_not_believed(
    data: bytes, digest: str, kind: type[KmodsmithError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        _read("etc/os-release", data, digest=digest)


@pytest.mark.parametrize(
    ("data", "wanted", "words"),
    [
        (b"no layer" * 100, "a", "cannot be read"),
        (_pack(("../a", tarfile.REGTYPE, b"")), "a", "points out of the layer"),
        (_LAYER, "etc/link", "no plain file"),
    ],
)
def test_what_no_layer_should_hold_is_refused(data: bytes, wanted: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        _read(wanted, data, digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))


def test_a_wanted_file_may_not_be_as_large_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_module, "_LARGEST_FILE", 1999)
    with pytest.raises(FormatError, match="no plain file"):
        _read("etc/other")


def test_what_hides_a_path_of_the_layers_below() -> None:
    assert whiteouts_of("a/b") == {"a/.wh.b", "a/.wh..wh..opq", ".wh.a", ".wh..wh..opq"}
