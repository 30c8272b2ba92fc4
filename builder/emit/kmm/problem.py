"""What can be wrong with an object of KMM. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Path = tuple[str | int, ...]


class Severity(StrEnum):
    ERROR = "error"
    """KMM refuses it, or no kernel would ever get its module."""
    WARNING = "warning"
    """KMM takes it; it is probably not what was meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: a stable code, where in the object, and a sentence."""

    path: Path
    code: str
    message: str
    severity: Severity = Severity.ERROR


def warn(path: Path, code: str, message: str) -> Problem:
    return Problem(path=path, code=code, message=message, severity=Severity.WARNING)
