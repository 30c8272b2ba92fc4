"""Verb upgrade-check: does every driver have its image for all kernels of a release, before anybody upgrades to it?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from builder.errors import KmodsmithError, SourceGoneError, UsageError
from builder.lock import LockedOpenShift, natural_key
from builder.matrix import Cell, find_left_out, matches_any, nearest
from builder.plan import Reason
from builder.publish.result import LOCAL
from builder.pullspec import parse_pullspec
from builder.sources.releases import run_by, split_key
from builder.store import list_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from builder.config import Config
    from builder.kernel import Arch
    from builder.lock import LockedRelease, ReleaseState
    from builder.plan import Candidate
    from builder.project import Project
    from builder.registry import Registry


class Presence(StrEnum):
    """Whether an image is there. A registry that does not answer is no proof of absence (design, rule 4)."""

    EXISTS = "exists"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    NOT_WANTED = "not-wanted"
    """versions.yaml or the driver itself leaves the kernel out."""
    NO_KERNEL = "no-kernel"
    """Which kernel the release runs there is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """One driver for one kernel of a release: the image that nodes would load, and whether it is there."""

    release: str
    arch: Arch
    stream: str
    state: ReleaseState
    kernel: str
    variant: str
    driver: str
    image: str
    presence: Presence
    digest: str = ""
    why: str = ""

    @property
    def is_missing(self) -> bool:
        return self.presence in {Presence.ABSENT, Presence.UNKNOWN, Presence.NO_KERNEL}


def check_upgrade(
    project: Project, version: str, *, drivers: Sequence[str] = (), arches: Sequence[Arch] = ()
) -> list[Readiness]:
    """Return a row for each driver and kernel of a release, per architecture, stream and variant.

    Args:
        project: its lock says which kernels the release runs.
        version: of OpenShift, such as 4.18.12.
        drivers: globs; empty: all.
        arches: empty: all that the lock knows the release for.

    Raises:
        UsageError: the lock does not know the release.
    """
    found = [
        (name, key, release)
        for name, key, release in _find(project, version)
        if not arches or split_key(key)[1] in arches
    ]
    if not found:
        raise UsageError(f"versions.lock.yaml does not know release {version}", hint=_hint(project, version))
    with _Presences(project) as presences:
        return [
            row
            for name, key, release in found
            for row in _check_release(project, name, key, release, drivers=drivers, presences=presences)
        ]


def _find(project: Project, version: str) -> Iterator[tuple[str, str, LockedRelease]]:
    for name, source in project.lock.sources.items():
        if isinstance(source, LockedOpenShift):
            for key in sorted(source.releases, key=natural_key):
                if split_key(key)[0] == version:
                    yield name, key, source.releases[key]


def _hint(project: Project, version: str) -> str:
    known = {
        split_key(key)[0]
        for source in project.lock.sources.values()
        if isinstance(source, LockedOpenShift)
        for key in source.releases
    }
    return (
        f"{nearest(version, known)}; a new release comes with 'nox -s discover', one of another minor with its channel "
        "in versions.yaml"
    )


def _check_release(
    project: Project, source: str, key: str, release: LockedRelease, *, drivers: Sequence[str], presences: _Presences
) -> Iterator[Readiness]:
    version, arch = split_key(key)
    chosen = [driver for driver in project.config.drivers if not drivers or matches_any(driver.name, drivers)]
    if not chosen:
        raise UsageError(f"no driver matches {', '.join(drivers)}")
    names = [driver.name for driver in chosen]
    for tag, stream in sorted(release.streams.items()):
        kernels = list(run_by(stream))
        cells = [
            Cell(driver=driver.name, driver_version=driver.version, kernel=kernel, source=source)
            for driver in chosen
            for kernel in kernels
        ]
        for candidate in project.candidates(cells):
            presence, digest, why = presences.of(project.config, candidate)
            cell = candidate.cell
            yield Readiness(
                release=version, arch=arch, stream=tag, state=stream.state, kernel=cell.kernel.raw,
                variant=cell.kernel.variant, driver=cell.driver, image=candidate.image, presence=presence,
                digest=digest, why=why,
            )  # fmt: skip
        if not kernels:
            yield from _unknown_kernel(version, arch, names, tag, stream.state)
    if not release.streams:
        yield from _unknown_kernel(version, arch, names, "", release.states[0])


def _unknown_kernel(
    version: str, arch: Arch, drivers: Iterable[str], tag: str, state: ReleaseState
) -> Iterator[Readiness]:
    for driver in drivers:
        yield Readiness(
            release=version, arch=arch, stream=tag, state=state, kernel="", variant="", driver=driver, image="",
            presence=Presence.NO_KERNEL,
            why="which kernel it runs is not known: run 'nox -s discover' with a pull secret",
        )  # fmt: skip


class _Presences:
    """Looks for images where their names say that they are: in the container store, or in a registry."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._store = list_images()
        self._registry: Registry | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._registry is not None:
            self._registry.close()

    def of(self, config: Config, candidate: Candidate) -> tuple[Presence, str, str]:
        """Return presence, digest where it exists, and why not where it does not."""
        if left_out := find_left_out(candidate.cell, config):
            return Presence.NOT_WANTED, "", left_out.reason
        if candidate.refusal and candidate.refusal[0] is Reason.DRIVER_EXCLUDES:
            return Presence.NOT_WANTED, "", candidate.refusal[1]
        if candidate.image.startswith(LOCAL):
            image = self._store.get(candidate.image)
            if image is not None:
                return Presence.EXISTS, image.digest, ""
        else:
            try:
                return Presence.EXISTS, self._open().manifest(parse_pullspec(candidate.image)).digest, ""
            except SourceGoneError:
                pass
            except KmodsmithError as error:
                return Presence.UNKNOWN, "", error.message
        return (
            Presence.ABSENT,
            "",
            candidate.refusal[1] if candidate.refusal else "it was never built, or not published",
        )

    def _open(self) -> Registry:
        from builder.pull import open_registries  # noqa: PLC0415 - httpx takes long to import

        if self._registry is None:
            root = self._project.file.parent
            self._registry = open_registries(self._project.config.registry, root, self._project.cache_dir).registry
        return self._registry
