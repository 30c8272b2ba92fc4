"""What the lock holds of OpenShift or OKD: releases with what is known of each, and the kernels that they run. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from builder.config.parsed import ParsedKernel  # noqa: TC001 - pydantic reads annotations
from builder.kernel import Arch
from builder.sources.lock import (
    BrokenReference,
    LockedModel,
    LockedNodeKernel,
    LockedSource,
    Since,
    Stamp,
    format_rows,
    natural_key,
)
from builder.sources.openshift.witnesses import run_by
from builder.sources.release import Release, ReleaseState, ReleaseStream, Withdrawal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.kernel import KernelVersion


def _need_key(key: str) -> str:
    try:
        split_key(key)
    except ValueError:
        sentence = f"{key[:80]!r} is no release with an architecture, such as 4.18.12-x86_64"
        raise PydanticCustomError("release", "{said}", {"said": sentence}) from None
    return key


ReleaseKey = Annotated[str, AfterValidator(_need_key)]
"""Version and architecture, as release images are tagged."""


class LockedStream(LockedModel):
    """An operating system of a release.

    ``kernels`` maps kernel versions to their witnesses (see ``witnesses``). Pullspecs are by digest; what is empty is
    not known.
    """

    state: ReleaseState
    kernels: dict[ParsedKernel, tuple[str, ...]] = Field(default_factory=dict)
    toolkit: str = ""
    image: str = ""
    build: str = ""
    rhel: str = ""
    origin: tuple[str, ...] = ("payload",)
    """Where toolkit, image and build come from, if not from the release's payload."""


class LockedRelease(LockedModel):
    """A release for one architecture: payload by digest, and since when (UTC) each channel has it.

    An empty date means that the channel already had it when it was first looked at. ``problem`` says why the last
    reading failed; then ``streams`` is the answer of ``stale`` (UTC), or empty.
    """

    payload: str = ""
    channels: dict[str, Since] = Field(default_factory=dict)
    streams: dict[str, LockedStream] = Field(default_factory=dict)
    problem: Literal["", "unreachable", "malformed"] = ""
    stale: str = ""
    disputed: tuple[str, ...] = ()
    """Other payloads that are served as the same release, and are not read."""

    @property
    def states(self) -> list[ReleaseState]:
        """States of its operating systems; why there are none, if there are none."""
        return [stream.state for stream in self.streams.values()] or [ReleaseState(self.problem or "kernel-unknown")]


class LockedWithdrawal(LockedModel):
    """A release that was in channels and is in none any more: since when (UTC), and the toolkits that it brought.

    ``since`` is when that was found out. It is kept, so that nobody takes it for one that never was, and no kernel goes
    on with its toolkit.
    """

    since: Stamp
    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    payload: str = ""
    toolkits: tuple[str, ...] = ()


class LockedOpenShift(LockedSource):
    """What update graph and registries of OpenShift or OKD said; ``stale`` is keyed by channel and architecture."""

    provider: Literal["openshift", "okd"]
    releases: dict[ReleaseKey, LockedRelease]
    kernels: dict[ParsedKernel, LockedNodeKernel]
    withdrawn: dict[ReleaseKey, LockedWithdrawal] = Field(default_factory=dict)

    def node_kernel(self, kernel: KernelVersion) -> LockedNodeKernel | None:
        return self.kernels.get(kernel)

    def list_releases(self) -> Iterator[Release]:
        for key in sorted(self.releases, key=natural_key):
            yield _tell(key, self.releases[key])

    def list_withdrawals(self) -> Iterator[Withdrawal]:
        for key in sorted(self.withdrawn, key=natural_key):
            version, arch = split_key(key)
            found = self.withdrawn[key]
            yield Withdrawal(version=version, arch=arch, since=found.since, channels=found.channels)

    def lines(self) -> Iterator[str]:
        yield f"    stale: {json.dumps(self.stale, sort_keys=True)}"
        kernels = sorted(self.kernels.items(), key=lambda item: item[0].sort_key)
        yield from format_rows("kernels", ((str(kernel), _known(locked)) for kernel, locked in kernels))
        releases = sorted(self.releases.items(), key=lambda item: natural_key(item[0]))
        yield from format_rows("releases", ((key, _known(release)) for key, release in releases))
        if withdrawn := sorted(self.withdrawn.items(), key=lambda item: natural_key(item[0])):
            yield from format_rows("withdrawn", ((key, _known(found)) for key, found in withdrawn))

    def broken_references(self) -> Iterator[BrokenReference]:
        for kernel, locked in self.kernels.items():
            named = {release_key(version, kernel.arch) for version in locked.releases}
            if not named:
                yield BrokenReference(place=f"kernels.{kernel}", sentence="no release is said to run it")
            elif missing := named - self.releases.keys():
                yield BrokenReference(place=f"kernels.{kernel}", sentence=f"no such release {min(missing)}")
            elif not locked.toolkit and not self._tells_of(kernel, locked):
                sentence = "it has no toolkit, and its newest release does not say why"
                yield BrokenReference(place=f"kernels.{kernel}", sentence=sentence)
            if locked.toolkit and locked.toolkit not in locked.toolkits:
                sentence = f"its toolkit {locked.toolkit} is not among its toolkits"
                yield BrokenReference(place=f"kernels.{kernel}", sentence=sentence)

    def _tells_of(self, kernel: KernelVersion, locked: LockedNodeKernel) -> bool:
        """Tell whether the newest release that is said to run a kernel names it."""
        newest = [self.releases[release_key(version, kernel.arch)] for version in locked.releases[-1:]]
        return any(kernel in stream.kernels for release in newest for stream in release.streams.values())


def release_key(version: str, arch: Arch) -> str:
    return f"{version}-{arch}"


def split_key(key: str) -> tuple[str, Arch]:
    """Return version and architecture of a release's key."""
    version, _, arch = key.rpartition("-")
    return version, Arch(arch)


def _tell(key: str, release: LockedRelease) -> Release:
    version, arch = split_key(key)
    streams = tuple(
        ReleaseStream(
            tag=tag,
            state=stream.state,
            runs=tuple(run_by(stream.kernels)),
            kernels=stream.kernels,
            toolkit=stream.toolkit,
            build=stream.build,
            rhel=stream.rhel,
            origin=stream.origin,
        )
        for tag, stream in release.streams.items()
    )
    return Release(
        version=version,
        arch=arch,
        state=release.states[0],
        channels=release.channels,
        stale=release.stale,
        streams=streams,
        disputed=release.disputed,
    )


def _known(row: LockedModel) -> dict[str, object]:
    """Return what is known of a row: nobody wants to review empty values."""
    return row.model_dump(mode="json", exclude_defaults=True)
