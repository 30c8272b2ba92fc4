"""When a row of the survey is settled, and when somebody has to look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from vendors.judge import Row, Truth, judge_rows, read_truth, write_table
from vendors.sources import VendorSource

if TYPE_CHECKING:
    from pathlib import Path

_KERNEL = "6.1.0-56-amd64"


def _row(folder: Path, dkms: str, cell: dict[str, Any] | None, refusal: str = "") -> Row:
    source = VendorSource(name="x", package="x-dkms", suite="bookworm", version="1", folder=folder)
    return Row.of(source, _KERNEL, {"verdict": dkms, "words": ["make[1]: Error 2", "x.c:1: error: no"]}, cell, refusal)


def _cell(status: str, code: str = "", failure_class: str = "compile") -> dict[str, Any]:
    failure = {"failure_class": failure_class, "code": code, "detail": "d", "location": "x.c:1"} if code else None
    return {"status": status, "explanation": "because", "failure": failure, "boot": None}


@pytest.mark.parametrize(
    ("dkms", "cell", "ours", "agrees"),
    [
        ("built", _cell("built"), "green", True),
        ("built", _cell("skipped"), "green", True),
        ("excluded", _cell("excluded"), "excluded", True),
        ("failed", _cell("failed", "api-arity"), "api-arity", True),
        ("failed", _cell("built"), "green", False),
        ("built", _cell("failed", "api-arity"), "api-arity", False),
        ("excluded", _cell("failed", "api-arity"), "api-arity", False),
        ("built", _cell("excluded"), "excluded", False),
        ("built", _cell("failed", "load-refused", "boot"), "boot:load-refused", False),
        ("failed", _cell("failed", "load-refused", "boot"), "boot:load-refused", False),
        ("built", None, "refused", False),
    ],
)
def test_dkms_and_we_say_the_same_or_not(
    tmp_path: Path, dkms: str, cell: dict[str, Any] | None, ours: str, *, agrees: bool
) -> None:
    row = _row(tmp_path, dkms, cell, "" if cell else "error: 1 mistake\n  more")
    assert (row.ours, row.agrees, row.is_open) == (ours, agrees, not agrees)
    assert row.dkms_line == ("x.c:1: error: no" if dkms == "failed" else "")


def test_a_difference_is_settled_by_a_look_that_found_us_right(tmp_path: Path) -> None:
    row = _row(tmp_path, "built", _cell("failed", "symbol-missing"))
    right = Truth(package="*/x-dkms", kernel="6.1.*", ours="symbol-*", is_right=True, because="modprobe says so")
    wrong = Truth(package="*", kernel="*", ours="*", is_right=False, because="to be mended")
    assert [row.is_open for row in judge_rows([row], [right, wrong])] == [False]
    assert [row.is_open for row in judge_rows([row], [wrong, right])] == [True]
    assert [row.is_open for row in judge_rows([row], [Truth(**{**_fields(right), "kernel": "6.12.*"})])] == [True]


def _fields(truth: Truth) -> dict[str, Any]:
    return {name: getattr(truth, name) for name in ("package", "kernel", "ours", "is_right", "because")}


def test_the_table_names_what_differs(tmp_path: Path) -> None:
    rows = judge_rows(
        [_row(tmp_path, "built", _cell("failed", "api-arity")), _row(tmp_path, "built", _cell("built"))], []
    )
    write_table(rows, [_KERNEL], {"cpu": "x"}, tmp_path / "out")
    text = (tmp_path / "out.md").read_text()
    assert "NOT LOOKED INTO" in text
    assert "| bookworm/x-dkms | 1 | green |" in text
    assert [row["is_open"] for row in json.loads((tmp_path / "out.json").read_text())["rows"]] == [True, False]
    (tmp_path / "truth.yaml").write_text("[]\n")
    assert read_truth(tmp_path / "truth.yaml") == []
