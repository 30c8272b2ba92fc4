"""Known problems: what versions.yaml acknowledges of all that is told, so that only news decides exit codes. Pure.

An entry never hides anything: what it fits is told with who looks after it. It counts as long as the problem lasts and
its date has not come; what fits nothing any more, or has expired, is told, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.config.problem_codes import ProblemCode
from builder.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from builder.config.model.config import Config
    from builder.config.model.known_problem import KnownProblem
    from builder.sources.lock import Lock

OF_KERNELS = frozenset({ProblemCode.NO_TOOLKIT, ProblemCode.TOOLKIT_UNKNOWN, ProblemCode.NO_BOOTABLE_KERNEL})
"""What plans refuse a cell for; discoveries tell the others."""


@dataclass(slots=True, kw_only=True)
class KnownProblems:
    """The entries of versions.yaml as they count on a day, and which of them something was found for."""

    entries: Sequence[KnownProblem]
    today: date
    found: set[int] = field(default_factory=set)

    def find(self, code: str, subject: str) -> KnownProblem | None:
        """Return the first entry that acknowledges a problem; all that fit it are not idle."""
        fitting = [
            (number, entry)
            for number, entry in enumerate(self.entries)
            if entry.code == code and fnmatchcase(subject, entry.about)
        ]
        self.found.update(number for number, _ in fitting)
        return next((entry for _, entry in fitting if entry.expires >= self.today), None)

    def complaints(self, codes: Iterable[ProblemCode]) -> Iterator[str]:
        """Yield what is to be said of the entries for some codes, when everything was looked at that they could fit."""
        wanted = set(codes)
        for number, entry in enumerate(self.entries):
            name = f"known_problems[{number}] ({entry.code} {entry.about})"
            if entry.code not in wanted:
                continue
            if number not in self.found:
                yield printable(f"{name} fits nothing that is wrong now: take it out of versions.yaml")
            elif entry.expires < self.today:
                sentence = f"expired on {entry.expires} and counts no more: ask its owner ({entry.owner}) what now"
                yield printable(f"{name} {sentence}")


def find_idle_known_bad(config: Config, lock: Lock) -> Iterator[str]:
    """Yield what is to be said of entries of known_bad that fit no kernel of a lock with all sources."""
    kernels = {
        name
        for source in lock.sources.values()
        for name in (*(kernel.raw for kernel in source.kernels), *source.incomplete())
    }
    for number, bad in enumerate(config.known_bad):
        if not any(fnmatchcase(kernel, bad.kernel) for kernel in kernels):
            sentence = "fits no kernel of versions.lock.yaml: take it out of versions.yaml"
            yield printable(f"known_bad[{number}] ({bad.kernel}) {sentence}")


def describe_known(entry: KnownProblem) -> str:
    return printable(f"known: {entry.reason} (owner {entry.owner}, until {entry.expires})")
