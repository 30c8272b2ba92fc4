"""Python packages of component images: locked by hash, fetched before the build, unpacked without running anything.

The lock is a requirements file with hashes (pip.pypa.io, "Secure installs"), of which only ``name==version``, a marker
and ``--hash=sha256:`` are read: options would choose another index, and addresses another package. pip fetches: it
knows indexes, proxies and credentials. ``installer`` unpacks: pip would write this machine's Python into scripts.
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
from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from builder.digest import content_id
from builder.errors import CellError, FailureClass, FormatError, SourceUnreachableError
from builder.evidence.blame import machine_fault
from builder.evidence.records import WheelRecord
from builder.host.places import open_regular
from builder.host.run import Command, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from builder.kernel import Arch

_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,127})==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]{0,127})"
    r"(?P<marker>\s*;[^#]{1,500}?)?(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})+)"
)
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_LONGEST_LOCK = 4 * 1024**2
# A package has a file for each Python, system and architecture: some hundreds.
_LONGEST_LINE = 256 * 1024
# Debian 12 has glibc 2.36 and UBI 9 has 2.34 (PEP 600); the newest first, as pip prefers it.
_GLIBC_MINORS = (34, 31, 28, 27, 26, 24, 17)
_LARGEST_TREE = 2 * 1024**3
_MOST_FILES = 100_000
_FETCH_S = 900.0
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
class Requirement:
    """One package of a lock: its SHA-256 digests are those of all its files, of which each image gets one."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]

    def is_for(self, arch: Arch, python: str) -> bool:
        """Tell whether Linux of an architecture wants it: pip itself would ask about the machine that builds."""
        return not self.marker or _evaluate(self.marker, arch, python)


def _evaluate(marker: str, arch: str, python: str) -> bool:
    """Evaluate a marker; all of its variables are given, as ``packaging`` asks this machine for the others."""
    machine = {
        "platform_machine": arch, "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
        "python_version": python, "python_full_version": f"{python}.0", "implementation_name": "cpython",
        "implementation_version": f"{python}.0", "platform_python_implementation": "CPython",
        "platform_release": "", "platform_version": "", "extra": "",
    }  # fmt: skip
    return Marker(marker).evaluate(machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel in the cache, and what is recorded of it."""

    record: WheelRecord
    file: Path


def read_wheel_lock(file: Path) -> tuple[Requirement, ...]:
    """Read a lock of Python packages.

    Raises:
        FormatError: a line of it is something else than a version with hashes; names file and line.
    """
    try:
        with open_regular(file, most=_LONGEST_LOCK) as stream:
            text = stream.read(_LONGEST_LOCK)
    except (OSError, FormatError) as error:
        why = error.message if isinstance(error, FormatError) else f"cannot be read: {error.strerror}"
        raise FormatError(f"{file} {why}") from None
    found: dict[str, Requirement] = {}
    for number, line in _logical_lines(text.decode(errors="backslashreplace")):
        match = _LINE.fullmatch(line) if len(line) <= _LONGEST_LINE else None
        if match is None:
            raise FormatError(
                f"{file}:{number}: {line[:80]!r} is not 'name==version --hash=sha256:...'; write the file by 'uv pip "
                "compile --generate-hashes'"
            )
        marker = (match["marker"] or "").strip().removeprefix(";").strip()
        if marker and not _is_marker(marker):
            raise FormatError(f"{file}:{number}: {marker[:80]!r} is no marker of a requirement")
        name = canonicalize_name(match["name"])
        key = f"{name} ; {marker}" if name in found else name
        if name in found and (key in found or not marker or found[name].marker in {"", marker}):
            raise FormatError(f"{file}:{number}: {name} is there twice")
        found[key] = Requirement(
            name=name, version=match["version"], marker=marker, hashes=frozenset(_HASH.findall(match["hashes"]))
        )
    return tuple(found.values())


def _is_marker(text: str) -> bool:
    """Tell whether text is a marker, and one that can be evaluated."""
    try:
        _evaluate(text, "x86_64", "3.11")
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName, RecursionError):
        return False
    return True


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """Yield number and text of each requirement: comments left out, lines that end with a backslash joined."""
    parts: list[str] = []
    begun = 0
    for number, line in enumerate(text.splitlines(), start=1):
        content = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not content and not parts:
            continue
        begun = begun or number
        parts.append(content.removesuffix("\\").strip())
        if not content.endswith("\\"):
            yield begun, " ".join(filter(None, parts))
            parts, begun = [], 0
    if parts:
        yield begun, " ".join(filter(None, parts))


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
    try:
        return _look_through(folder, wanted)
    except FormatError:
        shutil.rmtree(folder, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as scratch:
        partial = Path(scratch, "wheels")
        _download(wanted, partial, python=python, arch=arch)
        try:
            _look_through(partial, wanted)
        except FormatError as error:
            raise CellError(FailureClass.TOOLKIT, "wheel-differs", error.message) from None
        if not folder.exists():
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
