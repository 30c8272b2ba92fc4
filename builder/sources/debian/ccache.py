"""Unpacks Debian's ccache with the loader and all libraries that it needs, to be run from any toolkit.

A toolkit is another distribution's, or has other versions: ccache is started by its own loader, which looks nowhere but
in this folder. Debian's is linked to libraries that no RHEL has, and no distribution has a static one.
"""

from __future__ import annotations

import posixpath
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.digest import content_id
from builder.errors import SourceError
from builder.host.locks import alone
from builder.sources.debian.deb import read_members
from builder.sources.kernels import keep_files
from builder.store.cached_compiler import LOADER, PROGRAM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from builder.sources.debian.lock import LockedPackage
    from builder.sources.download import Downloads

_FOLDER = "ccache"
_FORMAT = "1"
# Below usr/lib/<triplet>; those in further folders (gconv, perl, audit) are loaded by name, and by nothing of ccache.
_LIBRARIES = "usr/lib/*-linux-gnu/*.so*"
_DEEPEST = 3
_LOADERS = ("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1")


def unpack_ccache(packages: Sequence[LockedPackage], downloads: Downloads, cache_dir: Path) -> Path:
    """Return the folder with the program, its loader and its libraries, unpacking them if it is not there yet.

    Its name is the identity of the program.

    Raises:
        SourceError: a package could not be fetched, is damaged, or does not hold what it should.
    """
    target = cache_dir / _FOLDER / content_id("ccache", _FORMAT, [package.sha256 for package in packages])
    with alone(target):
        if not target.is_dir():
            keep_files(_find_files([downloads.fetch(package) for package in packages]), target)
            for name in (PROGRAM, LOADER):
                (target / name).chmod(0o755)
    return target


def _find_files(debs: Sequence[Path]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    for deb in debs:
        for member, content in read_members(deb):
            name = posixpath.basename(member.name)
            if member.isreg() and member.name == "usr/bin/ccache":
                files[PROGRAM] = content
            elif member.name.count("/") == _DEEPEST and fnmatchcase(member.name, _LIBRARIES):
                if member.isreg():
                    files[name] = content
                elif member.issym():
                    links[name] = posixpath.basename(member.linkname)
    for name, other in links.items():
        if other in files:
            files[name] = files[other]
    loader = next((name for name in _LOADERS if name in files), None)
    if loader is None or PROGRAM not in files:
        raise SourceError("the packages of ccache do not hold the program and its loader", hint="run 'nox -s discover'")
    files[LOADER] = files[loader]
    return files
