"""Verb upgrade-check: does every driver have its image for all kernels of a release, before anybody upgrades to it?"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from builder.errors import KmodsmithError, UsageError
from builder.plan.decide import CELL_REPOSITORY, Reason
from builder.plan.matrix import Cell, find_left_out, matches_any, nearest
from builder.publish.reading import open_reader
from builder.publish.result import LOCAL
from builder.pullspec import parse_pullspec
from builder.signing.certificates import read_identities
from builder.sources.lock import natural_key
from builder.sources.release import ReleaseState
from builder.store.images import list_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from builder.config.model.config import Config
    from builder.kernel import Arch
    from builder.plan.decide import Candidate
    from builder.plan.project import Project
    from builder.publish.reading import RegistryReader
    from builder.sources.release import Release, Withdrawal


_VERSION = re.compile(r"\d{1,4}\.\d{1,4}\.\d")
_NOT_READ = "which kernel it runs is not known: run 'nox -s discover' with a pull secret"
_STALE = "it was made of other inputs than versions.yaml, the sources and the lock name now"


class Presence(StrEnum):
    """Whether the right image is there. A registry that does not answer is no proof of absence (design, rule 4)."""

    READY = "ready"
    """It is made of what versions.yaml, the sources and the lock name now, and signed where images are to be."""
    ABSENT = "absent"
    STALE = "stale"
    """Its name stands for an image of other inputs."""
    UNSIGNED = "unsigned"
    OTHER_KEY = "other-key"
    """It is signed, but not by the key of publish.signer for its name."""
    UNKNOWN = "unknown"
    """There was no answer, or what it should be made of is not known here."""
    NOT_WANTED = "not-wanted"
    """versions.yaml or the driver itself leaves the kernel out for good."""
    KNOWN_BAD = "known-bad"
    """The driver is wanted there, and versions.yaml says that it does not work: nodes would be without it."""
    NO_KERNEL = "no-kernel"
    """Which kernel the release runs there is not known."""
    DISPUTED = "disputed"
    """Further payloads are served as the release, and what they run nobody read."""
    WITHDRAWN = "withdrawn"
    """The release is in no channel any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """One driver for one kernel of a release: the image that nodes would load, and whether it is there and right."""

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
        return self.presence not in {Presence.READY, Presence.NOT_WANTED}


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
        UsageError: the lock does not know the release, and never knew it, for one of them or at all.
    """
    sources = project.lock.sources

    def is_meant(release: Release | Withdrawal) -> bool:
        return release.version == version and (not arches or release.arch in arches)

    found = [(name, item) for name, source in sources.items() for item in source.list_releases() if is_meant(item)]
    withdrawn = [item for source in sources.values() for item in source.list_withdrawals() if is_meant(item)]
    names = _choose_drivers(project, drivers)
    known = {release.arch for _, release in found} | {item.arch for item in withdrawn}
    lacking = [arch for arch in arches if arch not in known]
    if lacking or not known:
        raise _unknown_release(project, version, lacking)
    with _Presences(project) as presences:
        rows = [
            row
            for source, release in found
            for row in _check_release(project, source, release, drivers=names, presences=presences)
        ]
    for item in withdrawn:
        why = f"it {item}: nobody is to upgrade to it"
        rows += _without_kernel(item, names, ReleaseState.WITHDRAWN, Presence.WITHDRAWN, why)
    return rows


def _choose_drivers(project: Project, drivers: Sequence[str]) -> list[str]:
    chosen = [driver.name for driver in project.config.drivers if not drivers or matches_any(driver.name, drivers)]
    if not chosen:
        names = [driver.name for driver in project.config.drivers]
        raise UsageError(f"no driver matches {', '.join(drivers)}", hint=nearest(drivers[0], names))
    return chosen


def _unknown_release(project: Project, version: str, arches: Sequence[Arch]) -> UsageError:
    """Return what is to be said of a release that no channel has now, or ever had."""
    if not _VERSION.match(version):
        return UsageError(f"{version!r} is not the version of a release, such as 4.18.12")
    sources = project.lock.sources.values()
    known = [item for source in sources for item in source.list_releases()]
    withdrawn = {item.arch for source in sources for item in source.list_withdrawals() if item.version == version}
    if others := sorted({item.arch for item in known if item.version == version} | withdrawn):
        return UsageError(
            f"versions.lock.yaml knows release {version} for {', '.join(others)}, not for {', '.join(arches)}",
            hint="the source's 'arches' in versions.yaml say which are asked for",
        )
    today = datetime.now(UTC).date()
    reasons = (settings.why_left_out(version, today) for settings in project.config.sources.values())
    if why := next(filter(None, reasons), ""):
        return UsageError(f"versions.yaml leaves release {version} out: {why}")
    minor = ".".join(version.split(".")[:2])
    siblings = sorted({item.version for item in known if item.version.startswith(f"{minor}.")}, key=natural_key)
    if not siblings:
        near = nearest(version, sorted({item.version for item in known}, key=natural_key))
        return UsageError(
            f"versions.lock.yaml has no release of {minor}, so it does not know {version}",
            hint=f"{near}; another minor comes with its channel in versions.yaml and 'nox -s discover'",
        )
    return UsageError(
        f"there never was a release {version} in the channels of {minor} that were asked{_describe_doubt(project)}",
        hint=f"{nearest(version, siblings)}; the newest is {siblings[-1]}, and a new one comes with 'nox -s discover'",
    )


def _describe_doubt(project: Project) -> str:
    """Return which answers are old: what they lack may be there by now (design, rule 4)."""
    old = [
        f"source {name}" if source.problem else ", ".join(sorted(source.stale))
        for name, source in project.lock.sources.items()
        if source.problem or source.stale
    ]
    return f"; whether there is by now is not known: the last answer of {' and '.join(old)} is old" if old else ""


def _check_release(
    project: Project, source: str, release: Release, *, drivers: Sequence[str], presences: _Presences
) -> Iterator[Readiness]:
    version, arch = release.version, release.arch
    chosen = [driver for driver in project.config.drivers if driver.name in drivers]
    for stream in sorted(release.streams, key=lambda stream: stream.tag):
        cells = [
            Cell(driver=driver.name, driver_version=driver.version, kernel=kernel, source=source)
            for driver in chosen
            for kernel in stream.runs
        ]
        for ways in _with_keys(project, source, cells):
            answers = [(candidate, presences.of(project.config, candidate, keys)) for candidate, keys in ways]
            ready = (item for item in answers if item[1][0] is Presence.READY)
            candidate, (presence, digest, why) = next(ready, answers[0])
            cell = candidate.cell
            yield Readiness(
                release=version, arch=arch, stream=stream.tag, state=stream.state, kernel=cell.kernel.raw,
                variant=cell.kernel.variant, driver=cell.driver, image=candidate.image, presence=presence,
                digest=digest, why=why,
            )  # fmt: skip
        if not stream.runs:
            yield from _without_kernel(release, drivers, stream.state, Presence.NO_KERNEL, _NOT_READ, stream=stream.tag)
    if not release.streams:
        yield from _without_kernel(release, drivers, release.state, Presence.NO_KERNEL, _NOT_READ)
    if release.disputed:
        served = f"{len(release.disputed) + 1} payloads are served as this release, and nodes may run any of them"
        why = f"{served}; not read: {', '.join(release.disputed)}"
        yield from _without_kernel(release, drivers, release.state, Presence.DISPUTED, why)


def _without_kernel(
    release: Release | Withdrawal,
    drivers: Iterable[str],
    state: ReleaseState,
    presence: Presence,
    why: str,
    *,
    stream: str = "",
) -> Iterator[Readiness]:
    for driver in drivers:
        yield Readiness(
            release=release.version, arch=release.arch, stream=stream, state=state, kernel="", variant="",
            driver=driver, image="", presence=presence, why=why,
        )  # fmt: skip


def _with_keys(
    project: Project, source: str, cells: Sequence[Cell]
) -> Iterator[tuple[tuple[Candidate, frozenset[str]], ...]]:
    """Return, of each cell, what its images may be: one for each ending of tags that groups of its source have.

    Each with the keys that it may have, one for each way to sign of those groups; those without an ending come first.
    """
    groups = {name: group for name, group in project.config.groups.items() if group.source == source}
    suffixes = sorted({group.tag_suffix for group in groups.values()}) or [""]
    found = []
    for suffix in suffixes:
        named = [replace(cell, suffix=suffix) for cell in cells]
        signers = [read_identities(project.config, name) for name in groups if groups[name].tag_suffix == suffix]
        ways = {tuple((item.certificate.fingerprint, item.algorithm) for item in way): way for way in signers or [()]}
        found.append(
            [
                (of_cell[0], frozenset(item.inputs.key for item in of_cell if item.inputs))
                for of_cell in zip(*(project.candidates(named, way) for way in ways.values()), strict=True)
            ]
        )
    yield from zip(*found, strict=True)


_Answer = tuple[Presence, str, str]
"""Presence, digest where there is an image, and why it is not the right one."""


class _Presences:
    """Looks for images where their names say that they are: in the container store, or in a registry."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._store = list_images()
        self._held = ExitStack()
        self._reader: RegistryReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def of(self, config: Config, candidate: Candidate, keys: frozenset[str]) -> _Answer:
        if left_out := find_left_out(candidate.cell, config):
            is_bad = left_out.code == Reason.KNOWN_BAD
            return Presence.KNOWN_BAD if is_bad else Presence.NOT_WANTED, "", left_out.reason
        if candidate.refusal and candidate.refusal[0] is Reason.DRIVER_EXCLUDES:
            return Presence.NOT_WANTED, "", candidate.refusal[1]
        why = candidate.refusal[1] if candidate.refusal else ""
        try:
            is_local = candidate.image.startswith(LOCAL)
            look = self._look_in_store if is_local else self._look_in_registry
            found = look(candidate.image, keys)
        except KmodsmithError as error:
            return Presence.UNKNOWN, "", error.message
        if found is None:
            return Presence.ABSENT, "", why or "it was never built, or not published"
        if found[0] is Presence.STALE and not keys:
            return Presence.UNKNOWN, found[1], f"what it should be made of is not known here: {why}"
        return found

    def _look_in_store(self, name: str, keys: frozenset[str]) -> _Answer | None:
        image = self._store.get(name)
        if image is None:
            return None
        made = {kept.id for key in keys if (kept := self._store.get(f"{CELL_REPOSITORY}:{key}"))}
        return (Presence.READY, image.digest, "") if image.id in made else (Presence.STALE, image.digest, _STALE)

    def _look_in_registry(self, name: str, keys: frozenset[str]) -> _Answer | None:
        place = parse_pullspec(name)
        reader = self._open()
        found = reader.find(place)
        if found is None:
            return None
        where, there = found
        if there.key not in keys or there.is_list:
            return Presence.STALE, there.digest, _STALE
        if reader.is_signed(where, there.digest, name=place):
            return Presence.READY, there.digest, ""
        if reader.attachments.signatures(where.at(there.digest)):
            sentence = "none of its signatures is by the key of publish.signer for this name"
            return Presence.OTHER_KEY, there.digest, sentence
        return Presence.UNSIGNED, there.digest, "it has no signature"

    def _open(self) -> RegistryReader:
        if self._reader is None:
            self._reader = self._held.enter_context(open_reader(self._project))
        return self._reader
