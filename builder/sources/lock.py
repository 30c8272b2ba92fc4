"""``versions.lock.yaml``: the resolved matrix. ``discover`` writes it, people review it as a diff.

The file holds, for each kernel source, what the source said: kernels; for Debian the exact packages (address, size,
SHA-256) that make their toolkits; for OpenShift the releases with what is known of each, and toolkits by digest.
Identities of toolkits and base images follow from it without building anything, so a plan made on a fresh machine has
the same keys as one made anywhere else.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builder.config.yamlfile import refuse_tricks
from builder.errors import ConfigError, FormatError, LockFileError, UsageError
from builder.host.places import open_regular, replace_file
from builder.kernel import Arch, KernelVersion, parse_kernel_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LOCK_FILE_NAME = "versions.lock.yaml"
_LARGEST = 64 * 1024**2

SourceProblem = Literal["", "unreachable", "malformed", "host", "defect"]
"""Why the last reading of a whole source failed; then all of it is the answer of ``resolved``."""
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


class LockedDebian(_Frozen):
    """What a Debian archive said at ``resolved`` (UTC); ``packages`` is keyed by name_version_arch."""

    provider: Literal["debian"]
    resolved: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    kernels: dict[str, LockedKernel]
    package_sets: dict[str, tuple[str, ...]]
    """Closures of packages: ``toolchain-<build arch>-<target arch>-gcc-<n>`` and ``runtime-<arch>``."""
    packages: dict[str, LockedPackage]
    left_out: dict[str, str] = Field(default_factory=dict)
    """Kernels that the archive serves, but not all that their toolkits need, with the reason."""
    stale: dict[str, str] = Field(default_factory=dict)
    """Kernels that the last answer did not have, or not whole, with the date of the answer that was kept."""
    problem: SourceProblem = ""

    def digests(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.packages[name].sha256 for name in names)


class ReleaseState(StrEnum):
    """What is known of one operating system of one release; see builder/sources/README.md."""

    COMPLETE = "complete"
    """The toolkit's kernel and the node's kernel are both known and are the same."""
    UNCONFIRMED = "unconfirmed"
    """Only one of the two kernels is known; nothing contradicts."""
    TOOLKIT_DIFFERS = "toolkit-differs"
    """Both are known and are not the same: the release's own toolkit cannot build for its nodes."""
    NO_TOOLKIT = "no-toolkit"
    """The payload was read and has no toolkit for this operating system."""
    KERNEL_UNKNOWN = "kernel-unknown"
    """Neither kernel is known."""
    UNREACHABLE = "unreachable"
    """It was never read, because no registry answered or access was refused."""
    MALFORMED = "malformed"
    """It was never read, because what the registry served is not what it should be."""


class LockedStream(_Frozen):
    """An operating system of a release.

    ``kernels`` maps kernel versions to what says so: ``toolkit`` (its release file), ``derived`` (64k, from the
    toolkit's), ``node:`` and a place in the OS image or its extensions, or a data set. Pullspecs are by digest; what is
    empty is not known.
    """

    state: ReleaseState
    kernels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    toolkit: str = ""
    image: str = ""
    build: str = ""
    rhel: str = ""
    origin: tuple[str, ...] = ("payload",)
    """Where toolkit, image and build come from, if not from the release's payload."""


class LockedRelease(_Frozen):
    """A release for one architecture: payload by digest, and since when (UTC) each channel has it.

    An empty date means that the channel already had it when it was first looked at. ``problem`` says why the last
    reading failed; then ``streams`` is the answer of ``stale`` (UTC), or empty.
    """

    payload: str = ""
    channels: dict[str, str] = Field(default_factory=dict)
    streams: dict[str, LockedStream] = Field(default_factory=dict)
    problem: Literal["", "unreachable", "malformed"] = ""
    stale: str = ""

    @property
    def states(self) -> list[ReleaseState]:
        """States of its operating systems; why there are none, if there are none."""
        return [stream.state for stream in self.streams.values()] or [ReleaseState(self.problem or "kernel-unknown")]


class LockedNodeKernel(_Frozen):
    """A kernel that nodes of OpenShift run, and which releases make them run it.

    ``toolkit`` is the one that cells are built with: it stays when another release brings the same kernel with another
    toolkit, or nothing that is built and published would ever be done. ``toolkits`` are all of them, the newest
    release's first.
    """

    releases: tuple[str, ...]
    streams: tuple[str, ...]
    toolkit: str = ""
    toolkits: tuple[str, ...] = ()
    image: str = ""
    """Operating system image of the newest release that has it."""
    rhel: str = ""
    seen: str = ""
    """When it was first seen in a channel (UTC); empty if that was before the first look."""


class LockedOpenShift(_Frozen):
    """What update graph and registries of OpenShift or OKD said.

    ``stale`` names channels (with their architecture) that did not answer, with the date of the answer that was kept.
    """

    problem: SourceProblem = ""
    provider: Literal["openshift", "okd"]
    resolved: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    stale: dict[str, str] = Field(default_factory=dict)
    releases: dict[str, LockedRelease]
    """By version and architecture: ``4.18.12-x86_64``, as release images are tagged."""
    kernels: dict[str, LockedNodeKernel]


LockedSource = LockedDebian | LockedOpenShift


class Lock(_Frozen):
    format: Literal[1] = 1
    sources: dict[str, Annotated[LockedSource, Field(discriminator="provider")]] = Field(default_factory=dict)

    def debian(self, source: str) -> LockedDebian:
        """Return a source that has packages.

        Raises:
            LockFileError: there is none of this name, or it has none.
        """
        locked = self.sources.get(source)
        if not isinstance(locked, LockedDebian):
            raise LockFileError(f"the lock has no source {source!r} of provider debian", hint="run 'nox -s discover'")
        return locked

    def openshift(self, source: str) -> LockedOpenShift:
        """Return a source that has releases.

        Raises:
            LockFileError: there is none of this name, or it has none.
        """
        locked = self.sources.get(source)
        if not isinstance(locked, LockedOpenShift):
            raise LockFileError(f"the lock has no source {source!r} with releases", hint="run 'nox -s discover'")
        return locked

    def left_out(self, source: str) -> dict[str, str]:
        """Return the kernels of a source that it serves, but not whole, with the reason."""
        locked = self.sources[source]
        return locked.left_out if isinstance(locked, LockedDebian) else {}

    def kernel_versions(self, source: str) -> list[KernelVersion]:
        """All kernels of a source, oldest first in natural order."""
        kernels = (parse_kernel_version(raw) for raw in self.sources[source].kernels)
        return sorted(kernels, key=lambda kernel: kernel.sort_key)


def read_lock(file: Path) -> Lock:
    """Read and check a lock file.

    Raises:
        LockFileError: the file is missing, is not YAML, or does not have the shape that ``discover`` writes.
    """
    advice = "run 'nox -s discover' to write it anew, or restore it from version control"
    try:
        with open_regular(file, most=_LARGEST) as stream:
            text = stream.read(_LARGEST).decode("utf-8")
    except FileNotFoundError:
        raise LockFileError(f"{file} does not exist", hint="run 'nox -s discover' to write it") from None
    except FormatError as error:
        raise LockFileError(f"{file} {error.message}", hint=advice) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LockFileError(f"{file} cannot be read: {error}", hint=advice) from error
    try:
        if "&" in text or "!" in text:  # anchors, whose aliases the models would unfold each time again, and tags
            refuse_tricks(file, text)
        lock = Lock.model_validate(yaml.load(text, Loader=yaml.CSafeLoader) or {})
    except ConfigError as error:
        raise LockFileError(f"{error.mistakes[0]}", hint=advice) from None
    except ValidationError as error:
        raise _wrong_place(file, error, advice) from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise LockFileError(f"{file} is not YAML: {error}"[:1000], hint=advice) from error
    _check_references(lock, file, advice)
    return lock


def _wrong_place(file: Path, error: ValidationError, advice: str) -> LockFileError:
    first = error.errors()[0]
    parts = [*map(str, first["loc"])]
    if parts[:1] == ["sources"]:  # pydantic puts the provider into the place, or leaves it out
        parts = [*parts[:2], *(parts[3:] if len(parts) > 2 else ["provider"])]  # noqa: PLR2004
    return LockFileError(f"{file} at {'.'.join(parts)[:500]}: {first['msg']}", hint=advice)


def _check_references(lock: Lock, file: Path, advice: str) -> None:
    for name, source in lock.sources.items():
        for raw in source.kernels:
            try:
                parse_kernel_version(raw)
            except UsageError as error:
                raise LockFileError(f"{file} at sources.{name}.kernels: {error.message}", hint=advice) from error
        lacks = _missing_packages(source) if isinstance(source, LockedDebian) else _missing_releases(source)
        for place, sentence in lacks:
            raise LockFileError(f"{file} at sources.{name}.{place}: {sentence}", hint=advice)


def _missing_packages(source: LockedDebian) -> Iterator[tuple[str, str]]:
    for raw, kernel in source.kernels.items():
        missing_sets = set(kernel.toolchains.values()) - source.package_sets.keys()
        used = {package for packages in kernel.headers.values() for package in packages} | ({kernel.image} - {""})
        if missing := missing_sets | (used - source.packages.keys()):
            yield f"kernels.{raw}", f"no such package {min(missing)}"
    for set_name, packages in source.package_sets.items():
        if missing := set(packages) - source.packages.keys():
            yield f"package_sets.{set_name}", f"no such package {min(missing)}"


def _missing_releases(source: LockedOpenShift) -> Iterator[tuple[str, str]]:
    for raw, kernel in source.kernels.items():
        arch = parse_kernel_version(raw).arch
        if missing := {f"{version}-{arch}" for version in kernel.releases} - source.releases.keys():
            yield f"kernels.{raw}", f"no such release {min(missing)}"
        if kernel.toolkit and kernel.toolkit not in kernel.toolkits:
            yield f"kernels.{raw}", f"its toolkit {kernel.toolkit} is not among its toolkits"


def write_lock(lock: Lock, file: Path) -> None:
    """Write a lock in its one canonical form, in one step, so that a killed run leaves the old file whole."""
    replace_file(file, format_lock(lock).encode())


def format_lock(lock: Lock) -> str:
    """Return the canonical text: sorted, one line for a package and for a kernel, so that diffs are small."""
    lines = [
        "# Written by 'discover'; review it as a diff, do not edit it. What it means: builder/sources/lock.py.",
        f"format: {lock.format}",
        "sources:" if lock.sources else "sources: {}",
    ]
    for name, source in sorted(lock.sources.items()):
        lines += [f"  {name}:", f"    provider: {source.provider}", f"    resolved: '{source.resolved}'"]
        lines += [f"    problem: {source.problem}"] if source.problem else []
        lines += _debian_rows(source) if isinstance(source, LockedDebian) else _openshift_rows(source)
    return "\n".join([*lines, ""])


def _debian_rows(source: LockedDebian) -> Iterator[str]:
    kernels = sorted(source.kernels.items(), key=lambda item: parse_kernel_version(item[0]).sort_key)
    yield from _rows("kernels", ((raw, kernel.model_dump(mode="json")) for raw, kernel in kernels))
    yield from _rows("package_sets", sorted((key, list(value)) for key, value in source.package_sets.items()))
    packages = sorted(source.packages.items(), key=lambda item: natural_key(item[0]))
    yield from _rows("packages", ((key, package.model_dump(mode="json")) for key, package in packages))
    for title, entries in (("left_out", source.left_out), ("stale", source.stale)):
        if entries:
            yield from _rows(title, sorted(entries.items(), key=lambda item: natural_key(item[0])))


def _openshift_rows(source: LockedOpenShift) -> Iterator[str]:
    yield f"    stale: {json.dumps(source.stale, sort_keys=True)}"
    kernels = sorted(source.kernels.items(), key=lambda item: parse_kernel_version(item[0]).sort_key)
    yield from _rows("kernels", ((raw, _known(kernel)) for raw, kernel in kernels))
    releases = sorted(source.releases.items(), key=lambda item: natural_key(item[0]))
    yield from _rows("releases", ((key, _known(release)) for key, release in releases))


def _known(row: _Frozen) -> dict[str, object]:
    """Return what is known of a row: nobody wants to review empty values."""
    return row.model_dump(mode="json", exclude_defaults=True)


def natural_key(text: str) -> list[str | int]:
    """Sort key by which 4.9 comes before 4.10."""
    parts = re.split(r"([0-9]{1,18})", text)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def _rows(title: str, rows: Iterable[tuple[str, object]]) -> list[str]:
    # JSON is YAML: a flow mapping in JSON spelling is read by every YAML reader and has one canonical form.
    lines = [f"      {key}: {json.dumps(value)}" for key, value in rows]
    return [f"    {title}:", *lines] if lines else [f"    {title}: {{}}"]
