"""What became of a driver that was put into a project. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from builder.init.known import DriverDraft
    from builder.init.sample import NameChange


class StartKind(StrEnum):
    """What became of versions.yaml."""

    NEW = "new"
    SAMPLE_REPLACED = "sample-replaced"
    ADDED = "added"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What was done, or would be: ``files`` are written whole, ``changes`` say what of them is another.

    ``entry`` is the driver's in versions.yaml. ``outside`` is the folder that the command line has to allow from now
    on, None where the source lies in the project.
    """

    kind: StartKind
    draft: DriverDraft
    entry: str = ""
    changes: tuple[NameChange, ...] = ()
    files: tuple[str, ...] = ()
    outside: Path | None = None
    has_lock: bool = True
