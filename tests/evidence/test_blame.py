"""Who is to blame for an error outside of a compile, and whether to try again."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from builder.errors import (
    BusyServerError,
    CellError,
    CommandError,
    DamagedError,
    Failure,
    FailureClass,
    FormatError,
    HostError,
    KmodsmithError,
    SignerError,
    SourceError,
    SourceGoneError,
    SourceRefusedError,
    SourceUnreachableError,
)
from builder.evidence.blame import (
    describe_error,
    describe_os_error,
    is_understood,
    is_worth_another_try,
    machine_fault,
    would_repeat,
)

TOOLKIT, FIT, INFRA = FailureClass.TOOLKIT, FailureClass.FIT, FailureClass.INFRASTRUCTURE


@pytest.mark.parametrize(
    ("error", "stage", "failure_class", "code", "again"),
    [
        (SourceGoneError("x"), "toolkit", TOOLKIT, "package-gone", False),
        (SourceError("x"), "toolkit", TOOLKIT, "package-wrong", False),
        (DamagedError("x"), "toolkit", TOOLKIT, "package-wrong", False),
        (SourceUnreachableError("x"), "toolkit", INFRA, "source-unreachable", True),
        (BusyServerError("x", 3.0), "toolkit", INFRA, "source-unreachable", True),
        (SourceRefusedError("x"), "toolkit", INFRA, "access-refused", False),
        (FormatError("x"), "toolkit", TOOLKIT, "toolkit-unreadable", False),
        (FormatError("x"), "wheels", TOOLKIT, "wheel-unreadable", False),
        (FormatError("x"), "boot", TOOLKIT, "kernel-unreadable", False),
        (FormatError("x"), "prove", FIT, "unreadable", False),
        (FormatError("x"), "", FIT, "unreadable", False),
        (CommandError("x"), "assemble", INFRA, "command-failed", True),
        (CommandError("cp: No space left on device"), "assemble", INFRA, "disk-full", True),
        (CommandError("Error: x: database is locked"), "boot", INFRA, "storage-error", True),
        (HostError("x"), "boot", INFRA, "host", False),
        (SignerError("no-answer", "x"), "sign", INFRA, "host", False),
        (KmodsmithError("x"), "", INFRA, "host", False),
        (OSError(errno.ENOSPC, "No space"), "compile", INFRA, "disk-full", True),
        (OSError(errno.EDQUOT, "Quota"), "compile", INFRA, "disk-full", True),
        (OSError(errno.ENOMEM, "Memory"), "compile", INFRA, "out-of-memory", True),
        (MemoryError(), "prove", INFRA, "out-of-memory", True),
        (PermissionError(errno.EACCES, "Denied"), "compile", INFRA, "host", False),
        (OSError(errno.EROFS, "Read-only"), "compile", INFRA, "host", False),
        (OSError(errno.EMFILE, "Too many"), "compile", INFRA, "host", False),
        (
            FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/x']"),
            "compile",
            INFRA,
            "host",
            False,
        ),
        (FileNotFoundError(errno.ENOENT, "No such file"), "compile", INFRA, "defect", True),
        (OSError("no number"), "compile", INFRA, "defect", True),
        (ZeroDivisionError("x"), "compile", INFRA, "defect", True),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, Exception) else None,
)
def test_what_an_error_means_for_its_cell(
    error: Exception, stage: str, failure_class: FailureClass, code: str, *, again: bool
) -> None:
    failure = describe_error(error, stage=stage)
    assert (failure.failure_class, failure.code) == (failure_class, code)
    assert is_worth_another_try(failure) is again


def test_an_error_that_says_itself_what_failed_is_believed() -> None:
    error = CellError(FailureClass.SIGN, "key-mismatch", "m", detail="d", hint="h", location="a.c:1")
    assert describe_error(error, stage="toolkit") == error.failure
    assert not is_worth_another_try(error.failure), "only infrastructure is tried again"


@pytest.mark.parametrize(
    "error", [SourceGoneError("m", hint="h"), FormatError("m", hint="h"), HostError("m", hint="h")]
)
def test_words_and_hint_of_an_error_stay(error: KmodsmithError) -> None:
    for stage in ("toolkit", "prove"):
        failure = describe_error(error, stage=stage)
        assert (failure.detail, failure.hint) == ("m", "h")


def test_an_error_that_nobody_foresaw_names_its_kind_and_leads_to_the_log() -> None:
    failure = describe_error(KeyError("x"), stage="prove")
    assert (failure.detail, failure.hint) == ("KeyError: 'x'", "the cell's log has the details")
    failure = describe_error(OSError(errno.ENOSPC, "No space left on device", "/cache/x"), stage="prove")
    assert (failure.detail, failure.hint) == ("/cache/x cannot be read or written: No space left on device", None)


@pytest.mark.parametrize(
    ("error", "is_explained"),
    [
        (HostError("x"), True),
        (OSError(errno.ENOSPC, "No space"), True),
        (MemoryError(), True),
        (OSError(errno.ENOENT, "No such file"), False),
        (ValueError("x"), False),
    ],
    ids=repr,
)
def test_only_what_nobody_meant_needs_a_traceback(error: Exception, *, is_explained: bool) -> None:
    assert is_understood(error) is is_explained
    assert (machine_fault(error) is not None) is (is_explained and not isinstance(error, KmodsmithError))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.EIO, "Input/output error", Path("/a b")), "/a b cannot be read or written: Input/output error"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError("only words"), "only words"),
        (OSError(), "OSError"),
    ],
    ids=repr,
)
def test_an_error_of_the_system_is_said_in_a_sentence(error: OSError, sentence: str) -> None:
    assert describe_os_error(error) == sentence


@pytest.mark.parametrize(
    ("failure_class", "code", "repeats"),
    [
        (FailureClass.COMPILE, "api-arity", True),
        (FailureClass.COMPILE, "missing-tool", True),
        (FailureClass.UNRESOLVED_SYMBOL, "modpost-undefined", True),
        # Bounds of the machine or of versions.yaml are no input of a cell, and what nobody understood may be anything.
        (FailureClass.COMPILE, "timeout", False),
        (FailureClass.COMPILE, "memory-limit", False),
        (FailureClass.COMPILE, "processes-limit", False),
        (FailureClass.COMPILE, "disk-limit", False),
        (FailureClass.COMPILE, "output-limit", False),
        (FailureClass.COMPILE, "unknown", False),
        (FailureClass.COMPILE, "driver-excludes", False),
        (TOOLKIT, "compiler-crash", False),
        (TOOLKIT, "toolkit-image-missing", False),
        (INFRA, "disk-full", False),
        (FIT, "vermagic", False),
    ],
)
def test_only_what_the_driver_is_to_blame_for_repeats_itself(
    failure_class: FailureClass, code: str, repeats: bool
) -> None:
    assert would_repeat(Failure(failure_class=failure_class, code=code, detail="x")) is repeats
