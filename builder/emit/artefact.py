"""What every artefact is: its options, and how it becomes files. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from builder.host.progress import Progress
    from builder.plan.matrix import Selector
    from builder.plan.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of the command line; with ``values`` one of them, else any text, as often as wanted."""

    flag: str
    name: str
    help: str
    values: tuple[str, ...] = ()
    default: str | None = None
    metavar: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for: ``options`` are the artefact's own, by name. ``progress`` hears of long work."""

    project: Project
    selector: Selector
    progress: Progress
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """Files by name, sentences on what is not among them, and what else people should know of them.

    ``owned`` are globs of names that belong to the artefact alone: a file of an earlier time that is not written again
    is removed.
    """

    files: Mapping[str, str]
    left_out: Sequence[str] = ()
    told: Sequence[str] = ()
    owned: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """Something that is emitted.

    Args:
        help: what ``--help`` teaches.
        folder: where its files go by default, from the project.
        emit: reads facts, and makes files of them.
        selects: whether it is about selected cells.
        waits_for: what ``progress`` counts, in words.
        options: further options.
    """

    help: str
    folder: str
    emit: Callable[[Order], Emitted]
    selects: bool = False
    waits_for: str = "parts"
    options: tuple[Option, ...] = ()
