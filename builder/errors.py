"""Every error that a user can meet, in one tree, each kind with its own exit code.

KmodsmithError
├── UsageError            2  the command line asks for something that does not exist
├── ConfigError           3  versions.yaml has mistakes (all of them, each with its place)
├── LockFileError         4  versions.lock.yaml is missing, damaged or does not cover the request
│   ├── UnknownToolkitError      it does not know yet whether a kernel has a toolkit
│   ├── OtherMachineError        it has a kernel's toolkit, but none that runs on this machine
│   └── NoPackagesError          it does not have what a driver's build wants beside a toolkit
├── BusyError             5  another run holds the project's lock
├── HostError             6  a host tool is missing or may not be used
├── SourceError           7  a kernel source answered wrongly
│   ├── SourceUnreachableError   it did not answer at all: the older answer stays valid
│   │   └── BusyServerError      it asked for patience
│   ├── SourceRefusedError       it does not let us in, or only in a way that we do not take
│   ├── SourceGoneError          it says definitely that a locked file no longer exists
│   └── DamagedError             a server sent something else than was asked for: another digest, or more bytes
├── FormatError           8  a kernel object, image or certificate is not what it should be
│   ├── OccupiedError            something else stands where a list of ours belongs, and is not written over
│   └── IndexInTheWayError       an index that is not ours stands where ours belongs
├── SignerError           9  a signer of versions.yaml may not or cannot sign
├── CommandError         17  a command failed where no cell is to blame
└── CellError            10-17  one cell failed, see FailureClass

Exit 0 means that everything asked for is there and checked; 1 is a defect of kmodsmith itself; 18 means that
upgrade-check found images missing, 19 that lint or certify found nothing to judge, 20 that cells failed in more than
one class, 21 that an image or bundle would be refused certification, 22 that questions of the checklist are open, 130
that somebody interrupted. Only ``builder.__main__`` leaves the process. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

EXIT_OK = 0
EXIT_DEFECT = 1
EXIT_NOT_READY = 18
EXIT_NOTHING_TO_JUDGE = 19
EXIT_SEVERAL_CLASSES = 20
EXIT_NOT_CERTIFIABLE = 21
EXIT_OPEN_QUESTIONS = 22
EXIT_INTERRUPTED = 130


class FailureClass(StrEnum):
    """What a failed cell failed at. Only ``INFRASTRUCTURE`` is ever retried (design, rule 11)."""

    TOOLKIT = "toolkit"
    COMPILE = "compile"
    UNRESOLVED_SYMBOL = "unresolved-symbol"
    FIT = "fit"
    SIGN = "sign"
    BOOT = "boot"
    PUBLISH = "publish"
    INFRASTRUCTURE = "infrastructure"

    @property
    def exit_code(self) -> int:
        return _EXIT_CODES[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a cell failed: ``code`` is stable, ``detail`` the first real error line, ``location`` its ``file:line``."""

    failure_class: FailureClass
    code: str
    detail: str
    hint: str | None = None
    location: str | None = None

    def __post_init__(self) -> None:
        # Whoever tells it in tables and files need not think of what a driver's compile, a guest or a registry wrote.
        for name in ("code", "detail", "hint", "location"):
            if text := getattr(self, name):
                object.__setattr__(self, name, printable(text))


_EXIT_CODES = {
    FailureClass.TOOLKIT: 10,
    FailureClass.COMPILE: 11,
    FailureClass.UNRESOLVED_SYMBOL: 12,
    FailureClass.FIT: 13,
    FailureClass.SIGN: 14,
    FailureClass.BOOT: 15,
    FailureClass.PUBLISH: 16,
    FailureClass.INFRASTRUCTURE: 17,
}


# What steers a terminal or no file can hold: it comes out of names and texts that others wrote.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


_LONG_WORD = re.compile(r"(\S{200})\S{800,}")


def printable(text: str) -> str:
    """Return text with escapes in place of what a terminal would obey or could not show; endless words are cut."""
    return _LONG_WORD.sub(r"\1...", escape_controls(text))


def escape_controls(text: str) -> str:
    """Return text with escapes in place of what a terminal would obey or could not show."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class KmodsmithError(Exception):
    """Base of all errors that are the user's to read: what happened, why, and what to do."""

    exit_code: int = EXIT_DEFECT

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(printable(message))
        self.message = printable(message)
        self.hint = printable(hint) if hint else hint


class UsageError(KmodsmithError):
    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mistake:
    """One mistake in a file: where it is (1-based line and column, dotted path) and what is wrong."""

    file: Path
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f" at {self.path}" if self.path else ""
        return f"{self.file}:{self.line}:{self.column}:{place} {self.message}"


def format_path(path: Sequence[str | int]) -> str:
    """Return a place in YAML or JSON as people write it: ``drivers[0].modules``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


class ConfigError(KmodsmithError):
    exit_code = 3

    def __init__(self, mistakes: Iterable[Mistake], *, hint: str | None = None) -> None:
        self.mistakes: Sequence[Mistake] = sorted(mistakes)
        count = len(self.mistakes)
        heading = f"{count} mistake{'s' if count != 1 else ''} in the configuration:"
        super().__init__("\n".join([heading, *(f"  {mistake}" for mistake in self.mistakes)]), hint=hint)


class LockFileError(KmodsmithError):
    exit_code = 4


class UnknownToolkitError(LockFileError):
    """Nobody has read yet whether a kernel has a toolkit: unknown is not absent (design, rule 4)."""


class OtherMachineError(LockFileError):
    """A kernel has a toolkit, and this machine cannot run it."""


class NoPackagesError(LockFileError):
    """A kernel has a toolkit, and the lock does not hold the packages that a driver's build wants beside it."""


class BusyError(KmodsmithError):
    exit_code = 5


class HostError(KmodsmithError):
    exit_code = 6


class SourceError(KmodsmithError):
    exit_code = 7


class SourceUnreachableError(SourceError):
    """No answer: unknown is not absent (design, rule 4), so nothing may be dropped because of it."""


class BusyServerError(SourceUnreachableError):
    """The server asked for patience: try again after ``pause_s`` seconds, None for a pause of our choice."""

    def __init__(self, message: str, pause_s: float | None) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class SourceRefusedError(SourceError):
    """Access is refused, or offered only in a way that is not taken: that says nothing about what was asked for."""


class SourceGoneError(SourceError):
    """A definite answer that a locked file is no longer served."""


class DamagedError(SourceError):
    """A server sent something else than was asked for: another digest, or more bytes than there may be."""


class FormatError(KmodsmithError):
    """A file is damaged or is not what its name says; the message is the end of a sentence about that file."""

    exit_code = 8


class SignerError(KmodsmithError):
    """A signer may not or cannot sign; ``code`` is stable and names the cause."""

    exit_code = 9

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class CommandError(KmodsmithError):
    exit_code = FailureClass.INFRASTRUCTURE.exit_code


class CellError(KmodsmithError):
    """One cell failed; the run goes on with the others. ``detail`` of its ``failure`` is ``message`` if not given."""

    def __init__(
        self,
        failure_class: FailureClass,
        code: str,
        message: str,
        *,
        detail: str = "",
        hint: str | None = None,
        location: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = failure_class.exit_code
        self.failure = Failure(
            failure_class=failure_class, code=code, detail=detail or message, hint=self.hint, location=location
        )

    @classmethod
    def of(cls, failure: Failure, message: str) -> CellError:
        """Return the error that ends a cell by a failure that is described already."""
        return cls(
            failure.failure_class,
            failure.code,
            message,
            detail=failure.detail,
            hint=failure.hint,
            location=failure.location,
        )
