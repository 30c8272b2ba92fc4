"""The dkms packages of the Debian archive, each unpacked into a folder as its vendor's source."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from builder.host.locks import alone
from builder.kernel import Arch
from builder.sources.debian.apt import Apt, Archive, Package
from builder.sources.debian.deb import read_members
from builder.sources.debian.lock import LockedPackage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from builder.sources.download import Downloads

# The suite of the kernels, whose packages were made for 6.1, and the next, whose kernel is 6.12.
SUITES = ("bookworm", "trixie")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_NO_DRIVERS = {"dh-dkms", "dkms-noautoinstall-test-dkms", "dkms-replace-test-dkms", "dkms-test-dkms"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorSource:
    """One package's source: ``folder`` has a dkms.conf, ``edition`` is Debian's version, ``version`` upstream's in it."""

    name: str
    package: str
    suite: str
    version: str
    edition: str
    folder: Path

    @property
    def id(self) -> str:
        return f"{self.suite}/{self.package}"


def fetch_sources(folder: Path, globs: list[str], downloads: Downloads) -> list[VendorSource]:
    """Unpack every package that a glob names; one that is the same in both suites counts for the first."""
    known: set[str] = set()
    found = []
    for suite in SUITES:
        for package in _packages(folder / "apt" / suite, suite):
            wanted = any(fnmatchcase(package.name, glob) for glob in globs)
            if package.name in _NO_DRIVERS or package.sha256 in known:
                continue
            known.add(package.sha256)
            target = folder / "sources" / suite / package.name
            if wanted and _unpack(package, target, downloads):
                found.append(
                    VendorSource(
                        name=_driver_name(package.name, suite), package=package.name, suite=suite,
                        version=re.sub(r"^\d+:|-[^-]*$", "", package.version), edition=package.version,
                        folder=target,
                    )
                )  # fmt: skip
    return found


def open_apt(folder: Path, suite: str) -> Apt:
    apt = Apt(folder, Arch.X86_64, [Archive(url="http://deb.debian.org/debian", suites=(suite,))], _KEYRING)
    with alone(folder):  # apt itself does not wait for another that updates the same lists
        apt.update()
    return apt


def lock_package(package: Package) -> LockedPackage:
    return LockedPackage(url=package.url, size=package.size, installed=package.installed, sha256=package.sha256)


def _packages(folder: Path, suite: str) -> list[Package]:
    newest = {package.name: package for package in open_apt(folder, suite).packages(re.compile(r".*-dkms"))}
    return [package for _, package in sorted(newest.items())]


def _driver_name(package: str, suite: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", package.removesuffix("-dkms")).removesuffix("-modules")
    return name if suite == SUITES[0] else f"{name}-{suite}"


def _unpack(package: Package, target: Path, downloads: Downloads) -> bool:
    """Put what a package has below /usr/src into a folder, with its copyright as LICENSE; tell whether it has a dkms.conf."""
    done = target.with_name(f"{target.name}.{package.sha256[:12]}")
    if not done.exists():
        for marker in target.parent.glob(f"{target.name}.*"):  # of another edition, which is not there any more
            marker.unlink()
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path, mode, content in _files(package, downloads):
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(mode)
        done.touch()
    return (target / "dkms.conf").is_file()


def _files(package: Package, downloads: Downloads) -> Iterator[tuple[str, int, bytes]]:
    links = {}
    for member, content in read_members(downloads.fetch(lock_package(package))):
        parts = member.name.removeprefix("./").split("/")
        if member.name.endswith(f"usr/share/doc/{package.name}/copyright") and member.isreg():
            yield "LICENSE", 0o644, content
        elif parts[:2] == ["usr", "src"] and len(parts) > 3:
            path = "/".join(parts[3:])
            if member.isreg():
                links[member.name] = content
                yield path, member.mode, content
            elif member.islnk():
                yield path, member.mode, links[member.linkname]


def read_vendors_words(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return what vendors would add to versions.yaml, by package and by id (which wins)."""
    words = yaml.safe_load(file.read_text())
    assert isinstance(words, dict)
    return words
