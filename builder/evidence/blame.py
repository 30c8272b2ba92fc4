"""What an error outside of a compile means for its cell: class, stable code, and whether to try again. Pure.

A toolkit is blamed only by a definite answer about it: it is gone, or it is not what the lock names. A server that does
not answer or does not let us in, a full disk and a missing program say nothing about it (design, rules 4 and 11).
"""

from __future__ import annotations

import errno

from builder.errors import (
    CellError,
    CommandError,
    Failure,
    FailureClass,
    FormatError,
    KmodsmithError,
    SourceError,
    SourceGoneError,
    SourceRefusedError,
    SourceUnreachableError,
)
from builder.evidence.compile_log import DRIVER_EXCLUDES
from builder.host.surroundings import find_surroundings

# The first that fits counts.
_BLAME: tuple[tuple[type[KmodsmithError], FailureClass, str], ...] = (
    (SourceGoneError, FailureClass.TOOLKIT, "package-gone"),
    (SourceUnreachableError, FailureClass.INFRASTRUCTURE, "source-unreachable"),
    (SourceRefusedError, FailureClass.INFRASTRUCTURE, "access-refused"),
    (SourceError, FailureClass.TOOLKIT, "package-wrong"),
    (FormatError, FailureClass.FIT, "unreadable"),
    (CommandError, FailureClass.INFRASTRUCTURE, "command-failed"),
    (KmodsmithError, FailureClass.INFRASTRUCTURE, "host"),
)
# Stages that read what a source, or an index of packages, gave: what is damaged there is no fault of the driver's.
_SOURCE_STAGES = {"toolkit": "toolkit-unreadable", "boot": "kernel-unreadable", "wheels": "wheel-unreadable"}
# A second try in a moment would be answered the same; wrong passwords even lock accounts.
_LASTING = frozenset({"access-refused", "host"})
# What the same inputs need not fail at again: what was not understood, and bounds, which are no inputs.
_PASSING = frozenset(
    {"unknown", "timeout", "memory-limit", "processes-limit", "disk-limit", "output-limit", DRIVER_EXCLUDES}
)
_MACHINE = {
    errno.ENOSPC: "disk-full",
    errno.EDQUOT: "disk-full",
    errno.ENOMEM: "out-of-memory",
    errno.EACCES: "host",
    errno.EPERM: "host",
    errno.EROFS: "host",
    errno.EIO: "host",
    errno.EMFILE: "host",
    errno.ENFILE: "host",
}


def is_worth_another_try(failure: Failure) -> bool:
    """Tell whether a cell that failed so may pass when it is tried again at once."""
    return failure.failure_class is FailureClass.INFRASTRUCTURE and failure.code not in _LASTING


def would_repeat(failure: Failure) -> bool:
    """Tell whether a compile that failed so fails again as long as its inputs are the same ones."""
    is_of_driver = failure.failure_class in {FailureClass.COMPILE, FailureClass.UNRESOLVED_SYMBOL}
    return is_of_driver and failure.code not in _PASSING


def is_understood(error: Exception) -> bool:
    """Tell whether an error needs no traceback: somebody meant it, or the machine's state explains it."""
    return isinstance(error, KmodsmithError) or machine_fault(error) is not None


def describe_error(error: Exception, *, stage: str) -> Failure:
    """Return what an error means for the cell that it ended.

    Args:
        error: anything that ended a cell.
        stage: the stage that it came out of; empty before the first.
    """
    if isinstance(error, CellError):
        return error.failure
    if isinstance(error, FormatError) and stage in _SOURCE_STAGES:
        code = _SOURCE_STAGES[stage]
        return Failure(failure_class=FailureClass.TOOLKIT, code=code, detail=error.message, hint=error.hint)
    if isinstance(error, CommandError) and (known := find_surroundings(error.message)):
        return known
    for kind, failure_class, word in _BLAME:
        if isinstance(error, kind):
            return Failure(failure_class=failure_class, code=word, detail=error.message, hint=error.hint)
    fault = machine_fault(error)
    detail = describe_os_error(error) if fault and isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    hint = None if fault else "the cell's log has the details"
    return Failure(failure_class=FailureClass.INFRASTRUCTURE, code=fault or "defect", detail=detail, hint=hint)


def machine_fault(error: Exception) -> str | None:
    """Return the code of what is wrong with the machine, where an error that nobody foresaw comes from that."""
    if isinstance(error, MemoryError):
        return "out-of-memory"
    if isinstance(error, FileNotFoundError) and "No usable temporary directory" in str(error):
        return "host"
    return _MACHINE.get(error.errno or 0) if isinstance(error, OSError) else None


def describe_os_error(error: OSError) -> str:
    """Say which file it was and what is wrong with it."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename} cannot be read or written: {reason}" if error.filename else reason
