"""The lock of a component's Python packages: a requirements file with hashes (pip.pypa.io, "Secure installs").

Of it, only ``name==version``, a marker and ``--hash=sha256:`` are read: options would choose another index, and
addresses another package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.utils import canonicalize_name

from builder.errors import FormatError
from builder.host.places import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from builder.kernel import Arch

_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,127})==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]{0,127})"
    r"(?P<marker>\s*;[^#]{1,500}?)?(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})+)"
)
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_LONGEST_LOCK = 4 * 1024**2
# A package has a file for each Python, system and architecture: some hundreds.
_LONGEST_LINE = 256 * 1024


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
