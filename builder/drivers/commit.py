"""Which commit of which repository files were taken from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Dirty(StrEnum):
    """Whether files differ from those of their commit."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCommit:
    """The commit that files were taken from.

    ``name`` says whose files they are: source, or project. ``commit`` is hexadecimal; ``repository`` is a URI without
    credentials, empty where none can be told; ``path`` is that of the files in the repository. ``dirty`` says whether
    the files that were used differ from those of the commit, or are not in it.
    """

    name: str
    commit: str
    dirty: Dirty
    repository: str = ""
    path: str = ""
