"""``sources``: what every kernel source says of itself; each provider's own is beside it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from builder.config.model.declaration import Declaration

if TYPE_CHECKING:
    from datetime import date

    from builder.kernel import Arch


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A file that a kernel source names under ``key``, and folders where it may lie besides the project."""

    key: str
    text: str
    folders: tuple[str, ...] = ()


class SourceSettings(Declaration):
    """What every kernel source of versions.yaml says of itself."""

    gives_base_images: ClassVar[bool] = False
    """Small base images for drivers without `base_image`, and the busybox of boot tests, come out of it."""
    has_releases: ClassVar[bool] = False
    """Its kernels are those of releases, which groups can choose by."""

    provider: str
    """Kind of the source."""

    @property
    def runtime_source(self) -> str | None:
        """The source that versions.yaml names for the base images that this one does not give."""
        return None

    @property
    def machines(self) -> tuple[Arch, ...]:
        """Architectures of machines that it makes images for to build in."""
        return ()

    @property
    def named_files(self) -> tuple[NamedFile, ...]:
        """Files that are read for it."""
        return ()

    def why_left_out(self, version: str, today: date) -> str:
        """Return why a release is not wanted; empty where it is, or where the source has none."""
        del version, today
        return ""
