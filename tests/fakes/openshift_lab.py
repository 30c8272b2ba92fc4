"""A pretended graph and registry, and discoveries of them one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from builder.config.model.openshift import OpenShiftKernels
from builder.sources.openshift.changes import describe_releases
from builder.sources.openshift.discover import OpenShiftAnswer, discover
from builder.sources.provider import DiscoverOptions
from fakes.openshift_world import World
from fakes.registry import pretend_registry

if TYPE_CHECKING:
    from pathlib import Path

    from builder.sources.openshift.lock import LockedOpenShift

_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_NOW = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


@dataclass
class Lab:
    """A world, and discoveries of it one after the other; each starts from the lock of the one before."""

    folder: Path
    world: World = field(default_factory=World)
    now: datetime = _NOW
    settings: dict[str, Any] = field(default_factory=lambda: {"channels": ("fast-4.17",)})
    locked: LockedOpenShift | None = None
    auths: str = "{}"
    slept: list[float] = field(default_factory=list)

    def release(
        self, version: str, kernel: str = _K1, *, node: str | None = None, style: str = "label", toolkit: bool = True,
        channels: tuple[str, ...] = ("fast-4.17",), rt: str = "",
    ) -> str:  # fmt: skip
        """Add a release with one operating system and put it into channels."""
        tags = {"rhel-coreos": self.world.os_image(node or kernel, style=style, build=version)}
        tags["rhel-coreos-extensions"] = self.world.extensions()
        if toolkit:
            tags["driver-toolkit"] = self.world.toolkit(kernel, rt=rt)
        payload = self.world.release(version, tags)
        self.world.promote(payload, version, *channels)
        return payload

    def discover(self, *, cache: str = "cache", **wishes: bool) -> OpenShiftAnswer:
        auth = self.folder / "auth.json"
        auth.write_text(self.auths)
        registry = pretend_registry(self.world, self.folder / cache, auth, sleep=self.slept.append)
        client = httpx.Client(transport=httpx.MockTransport(self.world))
        settings = OpenShiftKernels.model_validate({"provider": "openshift"} | self.settings)
        found = discover(
            settings,
            self.locked,
            registry,
            root=self.folder,
            now=self.now,
            options=DiscoverOptions(**wishes),
            client=client,
        )
        self.locked = found.locked
        return found

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    def kinds(self, before: LockedOpenShift | None, found: OpenShiftAnswer) -> list[tuple[str, str]]:
        changes = describe_releases(before, found.locked, found.lost, now=self.now)
        return [(change.kind, change.subject) for change in changes]
