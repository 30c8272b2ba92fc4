"""``versions.lock.yaml``: the resolved matrix. ``discover`` writes it, people review it as a diff.

The file holds, for each kernel source, what the source said: kernels, and for Debian the exact packages (address,
size, SHA-256) that make their toolkits. Identities of toolkits and base images follow from it without building
anything, so a plan made on a fresh machine has the same keys as one made anywhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builder.errors import LockFileError, UsageError
from builder.kernel import Arch, KernelVersion, parse_kernel_version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LOCK_FILE_NAME = "versions.lock.yaml"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LockedPackage(_Frozen):
    """One .deb file: where it is served, its size and installed size in bytes, its digest."""

    url: Annotated[str, Field(pattern=r"^https?://\S+\.deb$")]
    size: Annotated[int, Field(ge=0)]
    installed: Annotated[int, Field(ge=0)]
    sha256: Sha256


class LockedKernel(_Frozen):
    """A kernel of a Debian source: version of its header package, its toolchain and its header packages.

    ``toolchains`` maps the architecture that compiles to the name of a package set; ``headers`` maps it to the
    packages of this kernel's headers (the common headers and kbuild tools come first, the kernel's own last).
    """

    package_version: str
    toolchains: dict[Arch, str]
    headers: dict[Arch, tuple[str, ...]]
    image: str = ""
    """Package with the bootable kernel and its modules; empty where the archive has none."""


class LockedSource(_Frozen):
    """What a Debian archive said at ``resolved`` (UTC); ``packages`` is keyed by name_version_arch."""

    provider: Literal["debian"]
    resolved: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    kernels: dict[str, LockedKernel]
    package_sets: dict[str, tuple[str, ...]]
    """Closures of packages: ``toolchain-<build arch>-<target arch>-gcc-<n>`` and ``runtime-<arch>``."""
    packages: dict[str, LockedPackage]

    def digests(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.packages[name].sha256 for name in names)


class Lock(_Frozen):
    format: Literal[1] = 1
    sources: dict[str, LockedSource] = Field(default_factory=dict)

    def kernel_versions(self, source: str) -> list[KernelVersion]:
        """All kernels of a source, oldest first in natural order."""
        kernels = (parse_kernel_version(raw) for raw in self.sources[source].kernels)
        return sorted(kernels, key=lambda kernel: kernel.sort_key)


def content_id(*parts: object) -> str:
    """Hash of plain values in canonical JSON: the one way in which kmodsmith derives identities."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_lock(file: Path) -> Lock:
    """Read and check a lock file.

    Raises:
        LockFileError: the file is missing, is not YAML, or does not have the shape that ``discover`` writes.
    """
    advice = "run 'nox -s discover' to write it anew, or restore it from version control"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LockFileError(f"{file} does not exist", hint="run 'nox -s discover' to write it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LockFileError(f"{file} cannot be read: {error}", hint=advice) from error
    try:
        lock = Lock.model_validate(yaml.load(text, Loader=yaml.CSafeLoader) or {})
    except yaml.YAMLError as error:
        raise LockFileError(f"{file} is not YAML: {error}", hint=advice) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise LockFileError(f"{file} at {place}: {first['msg']}", hint=advice) from error
    _check_references(lock, file, advice)
    return lock


def _check_references(lock: Lock, file: Path, advice: str) -> None:
    for name, source in lock.sources.items():
        for raw, kernel in source.kernels.items():
            try:
                parse_kernel_version(raw)
            except UsageError as error:
                raise LockFileError(f"{file} at sources.{name}.kernels: {error.message}", hint=advice) from error
            missing_sets = set(kernel.toolchains.values()) - source.package_sets.keys()
            used = {package for packages in kernel.headers.values() for package in packages}
            used |= {kernel.image} - {""}
            missing = missing_sets | (used - source.packages.keys())
            if missing:
                raise LockFileError(
                    f"{file} at sources.{name}.kernels.{raw}: no such package {min(missing)}", hint=advice
                )
        for set_name, packages in source.package_sets.items():
            if missing := set(packages) - source.packages.keys():
                raise LockFileError(
                    f"{file} at sources.{name}.package_sets.{set_name}: no such package {min(missing)}",
                    hint=advice,
                )


def write_lock(lock: Lock, file: Path) -> None:
    """Write a lock in its one canonical form, in one step, so that a killed run leaves the old file whole."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(format_lock(lock), encoding="utf-8")
    temporary.replace(file)


def format_lock(lock: Lock) -> str:
    """Return the canonical text: sorted, one line for a package and for a kernel, so that diffs are small."""
    lines = [
        "# Written by 'discover'; review it as a diff, do not edit it. What it means: builder/lock.py.",
        f"format: {lock.format}",
        "sources:" if lock.sources else "sources: {}",
    ]
    for name, source in sorted(lock.sources.items()):
        lines += [f"  {name}:", f"    provider: {source.provider}", f"    resolved: '{source.resolved}'"]
        kernels = sorted(source.kernels.items(), key=lambda item: parse_kernel_version(item[0]).sort_key)
        lines += _rows("kernels", ((raw, kernel.model_dump(mode="json")) for raw, kernel in kernels))
        lines += _rows("package_sets", sorted((key, list(value)) for key, value in source.package_sets.items()))
        packages = sorted(source.packages.items(), key=lambda item: re.split(r"(\d+)", item[0]))
        lines += _rows("packages", ((key, package.model_dump(mode="json")) for key, package in packages))
    return "\n".join([*lines, ""])


def _rows(title: str, rows: Iterable[tuple[str, object]]) -> list[str]:
    # JSON is YAML: a flow mapping in JSON spelling is read by every YAML reader and has one canonical form.
    lines = [f"      {key}: {json.dumps(value)}" for key, value in rows]
    return [f"    {title}:", *lines] if lines else [f"    {title}: {{}}"]
