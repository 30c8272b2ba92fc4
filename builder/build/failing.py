"""How an image fails: what is wrong is in its log before anything else is said of it."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING

from builder.evidence.blame import describe_error, is_understood
from builder.kmod.finding import raise_findings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from builder.errors import Failure
    from builder.kmod.finding import Finding


def judge(findings: Sequence[Finding], log_file: Path) -> None:
    """Write findings to a log, then fail because of them; errors are ``raise_findings``'."""
    if findings:
        with log_file.open("a") as log:
            log.writelines(f"{finding}\n" for finding in findings)
    raise_findings(findings)


def describe_failure(error: Exception, log_file: Path, *, stage: str) -> Failure:
    """Return what an error means; one that nobody foresaw leaves its traceback in the log."""
    if not is_understood(error):
        with contextlib.suppress(OSError), log_file.open("a") as log:
            traceback.print_exception(error, file=log)
    return describe_error(error, stage=stage)
