"""What of a source's answer could not be read, or is not believed. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.config.problem_codes import ProblemCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One thing that an answer is in doubt about, and why; the lock holds the older answer, where there is one.

    ``code`` is that by which versions.yaml can acknowledge it; None where nobody may.
    """

    code: ProblemCode | None
    subject: str
    """A release, a channel, a kernel, a flavour or a source."""
    sentence: str


def summarize(doubts: Iterable[Doubt]) -> list[str]:
    """Return a line for each kind of doubt: what is wrong with hundreds of releases has one cause."""
    found: dict[str, list[str]] = {}
    for doubt in doubts:
        sentence = re.sub(r"sha256:[0-9a-f]{64}", "sha256:...", doubt.sentence)
        code = f" [{doubt.code}]" if doubt.code else ""
        found.setdefault(f"{sentence}{code}", []).append(doubt.subject)
    lines = []
    for sentence, subjects in found.items():
        others = f" and {len(subjects) - 1} more" if len(subjects) > 1 else ""
        lines.append(f"{subjects[0]}{others}: {sentence}")
    return lines
