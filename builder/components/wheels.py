"""Python packages of component images: fetched by hash before the build, unpacked without running anything.

pip fetches: it knows indexes, proxies and credentials. ``installer`` unpacks: pip would write this machine's Python
into scripts.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from builder.digest import content_id
from builder.errors import CellError, FailureClass, FormatError, SourceUnreachableError
from builder.evidence.blame import machine_fault
from builder.evidence.records import WheelRecord
from builder.host.locks import alone
from builder.host.run import Command, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from builder.components.wheel_lock import Requirement
    from builder.kernel import Arch

# Debian 12 has glibc 2.36 and UBI 9 has 2.34 (PEP 600); the newest first, as pip prefers it.
_GLIBC_MINORS = (34, 31, 28, 27, 26, 24, 17)
_LARGEST_TREE = 2 * 1024**3
_MOST_FILES = 100_000
_FETCH_S = 900.0
_FETCHING = ".fetch-"
_INTERPRETER = "/usr/bin/python3"
# Where its index is, and whom it trusts; what chooses packages is said by us.
_PIP_SETTINGS = re.compile(
    r"PIP_(CONFIG_FILE|INDEX_URL|EXTRA_INDEX_URL|CERT|CLIENT_CERT|PROXY|TRUSTED_HOST|FIND_LINKS"
    r"|DEFAULT_TIMEOUT|RETRIES|KEYRING_PROVIDER)|NETRC"
)
_UNREACHABLE = re.compile(
    r"Retrying \(Retry|connection broken|Connection(Error| refused| reset)|Read timed out|Max retries|ProxyError"
    r"|50[0-9] (Server|Bad|Service|Gateway)|Temporary failure in name resolution"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel in the cache, and what is recorded of it."""

    record: WheelRecord
    file: Path


def fetch_wheels(requirements: Sequence[Requirement], *, python: str, arch: Arch, cache: Path) -> list[Wheel]:
    """Return the wheels of a lock for an architecture; those that are in the cache, whole, are not fetched again.

    Raises:
        CellError: there is no such wheel in the index, or it is another one than the lock names.
        SourceUnreachableError: the index does not answer.
    """
    wanted = [item for item in requirements if item.is_for(arch, python)]
    if not wanted:
        return []
    identity = content_id("wheels", [[item.name, item.version, sorted(item.hashes)] for item in wanted], python, arch)
    folder = cache / identity
    # Projects share the cache: a run that finds another one fetching the same waits for it.
    with alone(cache):
        cache.mkdir(exist_ok=True)
        for left in cache.glob(f"{_FETCHING}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        try:
            return _look_through(folder, wanted)
        except FormatError:
            shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=_FETCHING) as scratch:
            partial = Path(scratch, "wheels")
            _download(wanted, partial, python=python, arch=arch)
            try:
                _look_through(partial, wanted)
            except FormatError as error:
                raise CellError(FailureClass.TOOLKIT, "wheel-differs", error.message) from None
            partial.rename(folder)
        return _look_through(folder, wanted)


def _look_through(folder: Path, wanted: Sequence[Requirement]) -> list[Wheel]:
    """Return a folder's wheels, one for each requirement and no other, each with a digest that the lock names."""
    by_name = {item.name: item for item in wanted}
    found: dict[str, Wheel] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            name, version, _, _ = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            raise FormatError(f"{file.name} is no wheel") from None
        with file.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        if name not in by_name or sha256 not in by_name[name].hashes:
            raise FormatError(f"{file.name} is not what the lock names: its SHA-256 is {sha256}")
        record = WheelRecord(name=name, version=str(version), file=file.name, sha256=sha256)
        found[name] = Wheel(record=record, file=file)
    if missing := sorted(by_name.keys() - found.keys()):
        raise FormatError(f"there is no wheel of {', '.join(missing)}")
    return [found[name] for name in sorted(found)]


def _download(wanted: Sequence[Requirement], target: Path, *, python: str, arch: Arch) -> None:
    target.mkdir()
    listed = target.with_name("requirements.txt")
    listed.write_text(
        "".join(
            f"{item.name}=={item.version} {' '.join(f'--hash=sha256:{digest}' for digest in sorted(item.hashes))}\n"
            for item in wanted
        )
    )
    platforms = [f"manylinux_2_{minor}_{arch}" for minor in _GLIBC_MINORS] + [f"manylinux2014_{arch}"]
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--require-hashes"]
    argv += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    argv += [word for platform in platforms for word in ("--platform", platform)]
    own = {name: value for name, value in os.environ.items() if _PIP_SETTINGS.fullmatch(name)}
    words = (*argv, "--dest", str(target), "--requirement", str(listed))
    outcome = run(Command(argv=words, environment=own, timeout_s=_FETCH_S))
    if outcome:
        return
    said = [line for line in outcome.stderr.splitlines() if line.startswith("ERROR: ")]
    first = said[-1].removeprefix("ERROR: ") if said else outcome.explain()
    if _UNREACHABLE.search(outcome.stderr):
        raise SourceUnreachableError(
            f"the index of Python packages does not answer: {first}",
            hint="look at the network, and at pip's own settings (pip config list)",
        )
    if "DO NOT MATCH THE HASHES" in outcome.stderr:
        sentence = "the index has another file of this name than the lock names"
        raise CellError(FailureClass.TOOLKIT, "wheel-differs", f"{sentence}: {first}")
    raise CellError(
        FailureClass.TOOLKIT,
        "wheel-missing",
        f"no wheel for Python {python} on {arch}: {first}",
        hint="what has no wheel for an architecture cannot be in its image; see docs/components.md",
    )


def unpack_wheels(wheels: Iterable[Wheel], tree: Path) -> None:
    """Unpack wheels into a folder as they lie in site-packages, with scripts in ``bin``; equal wheels, equal files.

    Raises:
        FormatError: one of them is no wheel, or would write elsewhere.
    """
    places = {"purelib": "", "platlib": "", "data": "", "headers": "include", "scripts": "bin"}
    tree.mkdir()
    for wheel in wheels:
        _check_members(wheel.file)
        destination = SchemeDictionaryDestination(
            {name: str(tree / place) for name, place in places.items()}, interpreter=_INTERPRETER, script_kind="posix"
        )
        try:
            with WheelFile.open(wheel.file) as source:
                install(source, destination, {"INSTALLER": b"kmodsmith\n"})
        except Exception as error:  # they raise what they stumble over, of a dozen kinds
            if machine_fault(error):
                raise
            raise FormatError(f"{wheel.file.name} cannot be unpacked: {str(error)[:500]}") from None
    for file in tree.rglob("*"):
        # Scripts, and shared objects as linkers leave them, whatever an archive says: the latter are looked into later.
        is_program = file.is_dir() or file.suffix == ".so" or file.parent == tree / "bin"
        is_program |= bool(file.stat().st_mode & 0o100)
        file.chmod(0o755 if is_program else 0o644)


def _check_members(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise FormatError(f"{file.name} is no zip file: {error}") from None
    if len(members) > _MOST_FILES or sum(member.file_size for member in members) > _LARGEST_TREE:
        raise FormatError(f"{file.name} holds more than {_MOST_FILES} files or {_LARGEST_TREE >> 30} GiB")
    for member in members:
        parts = member.filename.split("/")
        if member.filename.startswith("/") or ".." in parts or "\\" in member.filename or "\0" in member.filename:
            raise FormatError(f"{file.name} holds {member.filename[:100]!r}, which would lie elsewhere")
