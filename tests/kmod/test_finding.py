"""The codes of everything that can be wrong with a module or an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import CellError, FailureClass
from builder.kmod.finding import Check, Finding, raise_findings


def test_every_check_has_a_test() -> None:
    text = "".join(file.read_text() for file in Path(__file__).parents[1].rglob("test_*.py") if file != Path(__file__))
    assert [check.name for check in Check if f"Check.{check.name}" not in text] == []


def test_every_check_is_documented() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "proof-and-signing.md").read_text()
    assert [check for check in Check if f"`{check}`" not in page] == []


def test_the_first_check_names_the_failure() -> None:
    findings = [
        Finding(check=Check.TOO_MANY_LAYERS, subject="layers", sentence="too many"),
        Finding(check=Check.SYMBOL_MISSING, subject="a.ko", sentence="it needs x"),
    ]
    with pytest.raises(CellError) as caught:
        raise_findings(findings)
    assert (caught.value.failure.failure_class, caught.value.failure.code) == (
        FailureClass.UNRESOLVED_SYMBOL,
        "symbol-missing",
    )
    assert caught.value.hint == "1 more: too-many-layers: layers: too many"
    raise_findings([])
