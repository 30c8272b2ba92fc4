"""Free disk, looked at before a run: a full disk found out half-way through costs the whole night."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - a field's type
from typing import TYPE_CHECKING

from builder.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable

GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Bytes that a run will write below a folder, which need not exist yet."""

    purpose: str
    folder: Path
    size: int


def check_disk(demands: Iterable[Demand]) -> None:
    """Compare what a run will write with what is free.

    Raises:
        HostError: a file system has less room; folders on the same file system are added up.
    """
    places: dict[int, list[Demand]] = {}
    for demand in demands:
        places.setdefault(_existing(demand.folder).stat().st_dev, []).append(demand)
    for together in places.values():
        place = _existing(together[0].folder)
        needed = sum(demand.size for demand in together)
        free = shutil.disk_usage(place).free
        if free < needed:
            purposes = " and ".join(demand.purpose for demand in together)
            raise HostError(
                f"not enough disk at {place}: {purposes} need about {needed / GIB:.1f} GiB, {free / GIB:.1f} are free",
                hint="free some ('nox -s prune' removes old images of kmodsmith), or select fewer cells",
            )


def check_writable(folder: Path) -> None:
    """Make a folder and a file in it, which is gone at once; an OSError says that this cannot be."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
