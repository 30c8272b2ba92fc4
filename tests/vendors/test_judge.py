"""When a row of the survey is settled, and when somebody has to look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vendors.judge import Judgement, Row, Truth, judge_rows, read_earlier, read_truth, write_table
from vendors.sources import VendorSource

_KERNEL = "6.1.0-56-amd64"


def _row(folder: Path, dkms: str, cell: dict[str, Any] | None, refusal: str = "") -> Row:
    source = VendorSource(name="x", package="x-dkms", suite="bookworm", version="1", edition="1-1", folder=folder)
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
        (
            "failed",
            _cell("failed", "modpost-undefined", "unresolved-symbol"),
            "unresolved-symbol:modpost-undefined",
            True,
        ),
        ("failed", _cell("failed", "disk-full", "infrastructure"), "infrastructure:disk-full", False),
        ("failed", _cell("refused"), "refused", False),
        ("failed", None, "refused", False),
        ("built", None, "refused", False),
    ],
)
def test_dkms_and_we_say_the_same_or_not(
    tmp_path: Path, dkms: str, cell: dict[str, Any] | None, ours: str, *, agrees: bool
) -> None:
    row = _row(tmp_path, dkms, cell, "" if cell else "error: 1 mistake\n  more")
    assert (row.ours, row.agrees, row.is_open) == (ours, agrees, not agrees)
    assert row.dkms_line == ("x.c:1: error: no" if dkms == "failed" else "")


_FIELDS = {"package": "*/x-dkms", "kernel": "6.1.*", "ours": "fit:symbol-*", "dkms": "built", "says": "*x.c:1 d*"}


def test_a_difference_is_settled_by_a_look_that_found_us_right(tmp_path: Path) -> None:
    row = _row(tmp_path, "built", _cell("failed", "symbol-missing", "fit"))
    right = Truth(**_FIELDS, is_right=True, because="modprobe says so")
    wrong = Truth(package="*", kernel="*", ours="*", dkms="*", says="*", is_right=False, because="to be mended")
    assert [row.is_open for row in judge_rows([row], [right, wrong])] == [False]
    assert [row.is_open for row in judge_rows([row], [wrong, right])] == [True]


@pytest.mark.parametrize(
    "change", [{"package": "*/y"}, {"kernel": "6.12.*"}, {"ours": "green"}, {"dkms": "failed"}, {"says": "*y.c*"}]
)
def test_what_was_looked_into_is_no_other_error(tmp_path: Path, change: dict[str, str]) -> None:
    row = _row(tmp_path, "built", _cell("failed", "symbol-missing", "fit"))
    assert judge_rows([row], [Truth(**_FIELDS | change, is_right=True, because="x")])[0].is_open


def test_what_nobody_asked_is_not_settled(tmp_path: Path) -> None:
    rows = judge_rows([_row(tmp_path, "built", _cell("built"))], [])
    assert Judgement(rows=rows, wanted=1).is_settled
    assert not Judgement(rows=rows, wanted=2).is_settled
    assert not Judgement(rows=[], wanted=0).is_settled
    assert not Judgement(rows=[_row(tmp_path, "failed", _cell("built"))], wanted=1).is_settled


def test_the_table_names_what_differs_and_what_is_not_known(tmp_path: Path) -> None:
    rows = judge_rows(
        [_row(tmp_path, "built", _cell("failed", "api-arity")), _row(tmp_path, "built", _cell("built"))], []
    )
    write_table(Judgement(rows=rows, wanted=4), [_KERNEL, "6.12"], {"cpu": "x"}, tmp_path / "out")
    text = (tmp_path / "out.md").read_text()
    assert "2 of 4 rows are known, 1 of them to be looked into" in text
    assert "NOT LOOKED INTO" in text
    assert "| bookworm/x-dkms | 1 | green | not known |" in text
    assert [row["is_open"] for row in json.loads((tmp_path / "out.json").read_text())["rows"]] == [True, False]


def test_a_survey_goes_on_where_the_newest_results_end(tmp_path: Path) -> None:
    assert read_earlier(tmp_path) == {}
    rows = judge_rows([_row(tmp_path, "built", _cell("failed", "api-arity"))], [])
    write_table(Judgement(rows=rows, wanted=4), [_KERNEL], {}, tmp_path / "2026-11-20")
    write_table(Judgement(rows=[], wanted=4), [_KERNEL], {}, tmp_path / "2026-11-19")
    ((key, row),) = read_earlier(tmp_path).items()
    assert key == ("bookworm/x-dkms", "1", _KERNEL)
    assert (row.ours, row.found, row.agrees, row.is_open) == ("api-arity", "2026-11-20", False, True)
    write_table(Judgement(rows=[row], wanted=4), [_KERNEL], {}, tmp_path / "2026-11-21")
    assert read_earlier(tmp_path)[key].found == "2026-11-20"


def test_every_truth_of_ours_can_be_read() -> None:
    assert all(truth.because for truth in read_truth(Path(__file__).with_name("truth.yaml")))
