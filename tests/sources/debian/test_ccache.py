"""ccache, out of packages made by hand."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest
from fakes.debs import make_deb, make_member

from builder.errors import SourceError
from builder.sources.debian.ccache import unpack_ccache
from builder.sources.debian.lock import LockedPackage
from builder.sources.download import Downloads

if TYPE_CHECKING:
    from pathlib import Path

    from builder.sources.download import LockedFile

_LIB = "./usr/lib/x86_64-linux-gnu"
_MEMBERS = [
    (make_member("./usr/bin/ccache"), b"program"),
    (make_member("./usr/sbin/update-ccache-symlinks"), b"other"),
    (make_member("./lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"), b"loader"),
    (make_member(f"{_LIB}/libzstd.so.1.5.4"), b"zstd"),
    (make_member(f"{_LIB}/libzstd.so.1", tarfile.SYMTYPE, "libzstd.so.1.5.4"), b""),
    (make_member(f"{_LIB}/gconv/UTF-7.so"), b"gconv"),
    (make_member(f"{_LIB}/libevil.so.1", tarfile.SYMTYPE, "../../../../etc/passwd"), b""),
    (make_member("./usr/share/doc/ccache/manual.so"), b"text"),
]
_LOCKED = LockedPackage(url="http://deb.test/x.deb", size=1, installed=1, sha256="1" * 64)


class _Fetched(Downloads):
    """Downloads that find one package, however often they are asked."""

    def __init__(self, deb: Path) -> None:
        super().__init__(deb.parent)
        self.deb, self.asked = deb, 0

    def fetch(self, package: LockedFile) -> Path:
        self.asked += 1
        return self.deb


def _fetched(folder: Path, *left_out: str) -> _Fetched:
    members = [item for item in _MEMBERS if not item[0].name.endswith(left_out or "-")]
    return _Fetched(make_deb(folder / "x.deb", *members))


def test_program_loader_and_libraries_are_in_one_folder(tmp_path: Path) -> None:
    downloads = _fetched(tmp_path)
    folder = unpack_ccache([_LOCKED], downloads, tmp_path)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        "ccache": b"program", "ld.so": b"loader", "ld-linux-x86-64.so.2": b"loader",
        "libzstd.so.1.5.4": b"zstd", "libzstd.so.1": b"zstd",
    }  # fmt: skip
    assert {file.name for file in folder.iterdir() if file.stat().st_mode & 0o111} == {"ccache", "ld.so"}
    assert unpack_ccache([_LOCKED], downloads, tmp_path) == folder
    assert downloads.asked == 1


def test_another_version_is_another_folder(tmp_path: Path) -> None:
    downloads = _fetched(tmp_path)
    other = _LOCKED.model_copy(update={"sha256": "2" * 64})
    assert unpack_ccache([_LOCKED], downloads, tmp_path) != unpack_ccache([other], downloads, tmp_path)


@pytest.mark.parametrize("missing", ["bin/ccache", "ld-linux-x86-64.so.2"])
def test_packages_without_what_it_takes_are_refused_and_leave_nothing(tmp_path: Path, missing: str) -> None:
    with pytest.raises(SourceError, match="do not hold the program and its loader"):
        unpack_ccache([_LOCKED], _fetched(tmp_path, missing), tmp_path)
    assert not [entry for entry in (tmp_path / "ccache").iterdir() if entry.is_dir()]
