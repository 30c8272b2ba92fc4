"""How an image fails: its log knows first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from builder.build.failing import describe_failure, judge
from builder.errors import CellError, FormatError
from builder.kmod.finding import Check, Finding

if TYPE_CHECKING:
    from pathlib import Path


def test_findings_are_in_the_log_before_they_fail(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    judge([], log)
    assert log.read_text() == "before\n"
    found = [Finding(check=Check.LABEL_MISSING, subject=name, sentence="it is not there") for name in ("a", "b")]
    with pytest.raises(CellError, match="it is not there"):
        judge(found, log)
    assert log.read_text() == f"before\n{found[0]}\n{found[1]}\n"


def test_only_what_nobody_foresaw_leaves_a_traceback(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert describe_failure(FormatError("meant"), log, stage="verify").detail == "meant"
    assert not log.exists()
    failure = describe_failure(ZeroDivisionError("oops"), log, stage="verify")
    assert (failure.code, "ZeroDivisionError" in failure.detail) == ("defect", True)
    assert "ZeroDivisionError: oops" in log.read_text()
    assert describe_failure(ZeroDivisionError("oops"), tmp_path / "absent" / "log", stage="").code == "defect"
