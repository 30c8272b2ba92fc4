"""Words and figures as pages write them. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from builder.show.quote import describe_amounts, format_size
from builder.show.table import format_duration
from builder.site.facts import CellState
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MEANINGS: Mapping[CellState, str] = {
    CellState.PUBLISHED: "its image is in a registry, made of what goes into it now",
    CellState.BOOTED: "its modules were loaded on this very kernel",
    CellState.SIGNED: "its modules fit the kernel, and their signatures were verified",
    CellState.PROVEN: "its modules fit the kernel",
    CellState.UNPROVEN: "there is an image, and what it was proven by is not on record",
    CellState.STALE: "it was proven of other inputs than there are now, or its image is gone",
    CellState.NOT_BUILT: "it is wanted, and no build of it is on record",
    CellState.UNKNOWN: "there was no answer: that is not the same as no image",
    CellState.FAILED: "it did not compile, does not fit, or fails on its kernel",
    CellState.REFUSED: "it cannot be built here; its page says why",
    CellState.KNOWN_BAD: "versions.yaml says that it does not work, and until when that is accepted",
    CellState.ACKNOWLEDGED: "it cannot be built, and versions.yaml says that this is known",
    CellState.NOT_WANTED: "versions.yaml or the driver leaves it out",
}

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAY_H = 48


def _word(name: str) -> str:
    return str(name).replace("-", " ")


def _time(text: str) -> str:
    """Return a time of a record (2026-11-27T11:38:27Z) without what people do not need."""
    return f"{text[:10]} {text[11:16]} UTC" if len(text) > len("2026-11-27") else text


def _month(text: str) -> str:
    """Return a month (2026-11) as people say it."""
    year, _, number = text.partition("-")
    return f"{_MONTHS[int(number) - 1]} {year}" if number.isdecimal() and 1 <= int(number) <= len(_MONTHS) else text


def _hours(number: float) -> str:
    return f"{number:.1f} h" if number < _DAY_H else f"{number / 24:.1f} days"


def _short(digest: str) -> str:
    return digest.rpartition("sha256:")[2][:12]


def _brief(digest: str) -> str:
    """Return the beginning of a digest, with its algorithm where that is not SHA-256."""
    algorithm, _, value = digest.rpartition(":")
    return value[:12] if algorithm in {"", "sha256"} else f"{algorithm}:{value[:12]}"


FILTERS: Mapping[str, Callable[..., object]] = {
    "word": _word,
    "time": _time,
    "month": _month,
    "size": format_size,
    "hours": _hours,
    "short": _short,
    "brief": _brief,
    "quoted": shlex.quote,
    "seconds": format_duration,
    "count": count,
    "amounts": describe_amounts,
}
