"""What a kernel source is to everybody else: one protocol for each time that somebody asks something of it. Pure.

- ``Provider``: a kind of source. Discovery asks it what there is; then it opens what the lock holds.
- ``KernelSource``: a source as everything after discovery sees it: what the lock says, without asking anybody.
- ``Toolkits`` and ``BootableKernels``: what it brings into the container store and the cache, when first asked for.

``table`` names the providers that there are. Identities are digests of what a toolkit, a base image or a bootable
kernel is made of; names are those in the container store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from builder.config.model.registry import RegistrySettings
    from builder.config.model.source import SourceSettings
    from builder.host.progress import Progress
    from builder.kernel import Arch, KernelVersion
    from builder.sources.change import Change
    from builder.sources.doubt import Doubt
    from builder.sources.lock import LockedSource
    from builder.store.jail import Jail

SettingsT = TypeVar("SettingsT", bound="SourceSettings")
LockedT = TypeVar("LockedT", bound="LockedSource")


class Provider(Protocol[SettingsT, LockedT]):
    """A kind of kernel source: the class of its part of the lock, and how it is asked and opened."""

    @property
    def locked(self) -> type[LockedT]:
        """The class of its part of the lock."""
        ...

    def discover(self, question: Question[SettingsT, LockedT]) -> Answer:
        """Ask the world which kernels there are.

        What could not be read, or is not believed, keeps its older answer and is told as a problem.

        Raises:
            KmodsmithError: nothing could be read; the caller keeps all of the older answer.
        """
        ...

    def open(self, opening: Opening[LockedT]) -> KernelSource:
        """Return a source as the lock has it; asks nobody."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverOptions:
    """How to discover, besides what versions.yaml says."""

    refresh: bool = False
    """Read also what the lock already knows."""
    newest_toolkits: bool = False
    """Choose the newest toolkit of every kernel again."""
    ask_for_toolkits: bool = False
    """Ask of every toolkit that another one could replace whether it is still there; part of ``refresh``."""
    accept_loss: bool = False
    """Believe an answer that lost many releases or kernels at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Generic[SettingsT, LockedT]):
    """What discovery asks a provider.

    ``settings`` is the source in versions.yaml, ``previous`` what the lock holds of it (None at the first look),
    ``now`` the date of the answer.
    """

    name: str
    settings: SettingsT
    previous: LockedT | None
    options: DiscoverOptions
    now: datetime
    workplace: Workplace
    progress: Progress
    build_packages: frozenset[tuple[str, ...]] = frozenset()
    """What drivers want beside toolkits, each list sorted."""
    image_packages: frozenset[tuple[Arch, tuple[str, ...]]] = frozenset()
    """What component images want beside the small base image, each list sorted."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """A source's new part of the lock, and what is to be said about it."""

    locked: LockedSource
    changes: list[Change] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    """What could not be read or is not believed; the lock holds the older answers."""
    releases_read: int = 0
    bytes_read: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening(Generic[LockedT]):
    """What a source is opened with: its part of the lock, and the source that gives what it has not itself.

    ``runtime`` gives the small base image and the busybox of guests; None where there is no source that could.
    """

    name: str
    locked: LockedT
    build_arch: Arch
    runtime: KernelSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where sources work: the project's folder, what outlives a run, what does not, and how registries are read."""

    root: Path
    cache_dir: Path
    work_dir: Path
    registry: RegistrySettings
    jail: Jail

    @property
    def packages_dir(self) -> Path:
        """Files that a lock names, by digest."""
        return self.cache_dir / "packages"

    @property
    def kernels_dir(self) -> Path:
        """Bootable kernels, by the digest of what they came from."""
        return self.cache_dir / "boot"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInput:
    """Something that went into a build: where it is served (``uri``), and its SHA-256 without prefix."""

    name: str
    uri: str
    sha256: str
    version: str = ""
    purl: str = ""
    """Package URL (github.com/package-url/purl-spec); empty where there is no kind of package for it."""


def image_input(name: str, pullspec: str) -> BuildInput:
    """Describe an image that is named by digest."""
    return BuildInput(name=name, uri=f"docker://{pullspec}", sha256=pullspec.rpartition(":")[2])


class KernelSource(Protocol):
    """A kernel source as the lock has it. What the lock does not have is a LockFileError that says why."""

    def toolkit_id(self, kernel: KernelVersion) -> str:
        """Return the identity of the toolkit that a kernel's cells are built with on this machine."""
        ...

    def toolkit_image(self, kernel: KernelVersion) -> str:
        """Return the name that this toolkit has in the container store."""
        ...

    def compile_image(self, kernel: KernelVersion, wanted: Iterable[str]) -> str:
        """Return the name of this toolkit with build packages; its own where it has them, or none are wanted.

        Raises:
            NoPackagesError: the lock does not hold them.
        """
        ...

    def toolkit_inputs(self, kernel: KernelVersion) -> tuple[BuildInput, ...]:
        """Return what this toolkit is made of."""
        ...

    def toolchain_id(self, kernel: KernelVersion) -> str:
        """Return an identity that toolkits share whose compilers are the same, as far as the lock tells."""
        ...

    def build_packages(self, kernel: KernelVersion, wanted: Iterable[str]) -> tuple[BuildInput, ...]:
        """Return what a driver's build wants beside this toolkit, with what it depends on and the toolkit lacks.

        Raises:
            NoPackagesError: the lock does not hold it.
        """
        ...

    def base_id(self, arch: Arch) -> str:
        """Return the identity of the small base image for drivers that name none."""
        ...

    def base_image(self, arch: Arch) -> str:
        """Return the name that this base image has in the container store."""
        ...

    def base_inputs(self, arch: Arch) -> tuple[BuildInput, ...]:
        """Return what this base image is made of."""
        ...

    def boot_id(self, kernel: KernelVersion) -> str:
        """Return a digest that names what the bootable kernel is taken from; empty where there is nothing."""
        ...

    def open_toolkits(self, workplace: Workplace) -> Toolkits:
        """Return what brings its toolkits and base images into the container store; to be closed."""
        ...

    def open_kernels(self, workplace: Workplace) -> BootableKernels:
        """Return what brings its bootable kernels into the cache; to be closed."""
        ...

    def ensure_ccache(self, workplace: Workplace) -> Path | None:
        """Return a folder with ccache for this machine, whose name is its identity; None where the lock has none.

        Raises:
            SourceError: it could not be fetched, or is not where it should be.
        """
        ...

    def read_busybox(self, arch: Arch, workplace: Workplace) -> bytes:
        """Return the static busybox that guests of an architecture are started with.

        Raises:
            SourceError: it could not be fetched, or is not where it should be.
        """
        ...


class PackageSource(Protocol):
    """A source that makes base images of packages. What the lock does not have is a LockFileError that says why."""

    def image_packages_id(self, arch: Arch, wanted: Iterable[str]) -> str:
        """Return the identity of the base image with further packages.

        Raises:
            NoPackagesError: the lock does not hold them.
        """
        ...

    def image_packages(self, arch: Arch, wanted: Iterable[str]) -> tuple[BuildInput, ...]:
        """Return all packages of the base image with further ones."""
        ...

    def package_image(self, arch: Arch, wanted: Iterable[str]) -> str:
        """Return the name of this image in the container store."""
        ...

    def open_packages(self, workplace: Workplace) -> PackageImages:
        """Return what brings such images into the container store; to be closed."""
        ...


class PackageImages(Protocol):
    """Base images of packages, brought into the container store when first asked for."""

    def close(self) -> None: ...

    def ensure_packages(self, arch: Arch, wanted: Iterable[str]) -> str:
        """Return the name of a base image with further packages, with the errors of ``Toolkits.ensure``."""
        ...


class ToolkitBytes(NamedTuple):
    """What toolkits that are missing need: room in the container store, and room for what is downloaded."""

    installed: int
    download: int


class Toolkits(Protocol):
    """Toolkits and base images of one source, brought into the container store when first asked for.

    Safe to use from several threads.
    """

    def close(self) -> None: ...

    def estimate_bytes(self, kernels: Iterable[KernelVersion]) -> ToolkitBytes:
        """Return what the missing toolkits of these kernels need."""
        ...

    def prefetch(self, kernels: Iterable[KernelVersion]) -> None:
        """Start fetching what the missing toolkits of these kernels need, in their order."""
        ...

    def ensure(self, kernel: KernelVersion, wanted: Iterable[str] = ()) -> str:
        """Return the name of a kernel's toolkit image, which is in the store when this returns.

        ``wanted`` are build packages, which that image then has, too.

        Raises:
            LockFileError: the lock names none.
            SourceError: it, or a part of it, could not be fetched.
            CommandError: it could not be brought into the store.
        """
        ...

    def ensure_runtime(self, arch: Arch) -> str:
        """Return the name of the small base image for an architecture, with the errors of ``ensure``."""
        ...


class BootableKernels(Protocol):
    """Bootable kernels of one source, brought into the cache when first asked for; safe to use from several threads."""

    def close(self) -> None: ...

    def identity_of(self, kernel: KernelVersion) -> str:
        """Return a digest that names what a kernel is taken from; empty where there is nothing."""
        ...

    def missing_bytes(self, kernel: KernelVersion) -> int:
        """Return the room that fetching a kernel takes; 0 where it is there."""
        ...

    def ensure(self, kernel: KernelVersion) -> Path:
        """Return a folder with the kernel's own ``vmlinuz`` and ``config``.

        Raises:
            LockFileError: the lock names nothing that it could be taken from.
            SourceError: that could not be fetched.
            FormatError, CommandError: it does not hold this kernel.
        """
        ...

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        """Return the kernel's own modules of these names and all that they depend on, in the order of loading."""
        ...

    def module_files(self, kernel: KernelVersion) -> Iterable[tuple[str, bytes]]:
        """Yield all of the kernel's own modules by path, and the lists beside them (``kernels.MODULE_LISTS``)."""
        ...
