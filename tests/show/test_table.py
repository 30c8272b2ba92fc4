from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from builder.build.result import CellResult, Status, exit_code_of
from builder.errors import Failure, FailureClass
from builder.evidence.records import BootEvidence
from builder.kernel import parse_kernel_version
from builder.plan.decide import Action, Decision, Reason
from builder.plan.matrix import Cell
from builder.show.junit import emit_junit
from builder.show.report import emit_results_json
from builder.show.table import emit_results_table, format_duration

_GOLDEN = Path(__file__).parents[1] / "golden"


def _result(kernel: str, status: Status, failure: Failure | None = None, driver: str = "demo") -> CellResult:
    cell = Cell(driver=driver, driver_version="1.0.0", kernel=parse_kernel_version(kernel), source="debian")
    decision = Decision(
        cell=cell, action=Action.BUILD, reason=Reason.NEVER_BUILT, explanation="no build of it is known here"
    )
    return CellResult(
        decision=decision, status=status, duration_s=1.25, failure=failure, log="cells/x/build.log" if failure else ""
    )


_COMPILE = Failure(
    failure_class=FailureClass.COMPILE,
    code="compiler-error",
    detail="a.c:1: error: <x> & \x1b[31m]]>",
    location="a.c:1",
    hint="mend it",
)
_DISK = Failure(failure_class=FailureClass.INFRASTRUCTURE, code="disk-full", detail="No space left on device")
_RESULTS = [
    _result("6.1.0-9-amd64", Status.BUILT),
    _result("6.1.0-10-amd64", Status.FAILED, _COMPILE),
    _result("6.12.5+deb12-amd64", Status.FAILED, _DISK),
    _result("6.1.0-9-amd64", Status.SKIPPED, driver="other"),
    _result("6.1.0-9-arm64", Status.REFUSED, driver="other"),
    _result("6.1.0-9-cloud-amd64", Status.EXCLUDED, driver="other"),
]


def test_junit_is_golden_and_can_be_parsed() -> None:
    text = emit_junit(_RESULTS)
    assert text == (_GOLDEN / "junit.xml").read_text()
    suites = ET.fromstring(text)
    assert [
        (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped"))
        for suite in suites
    ] == [
        ("demo", "3", "1", "1", "0"),
        ("other", "3", "1", "0", "2"),
    ]
    assert "\x1b" not in text


def test_json_has_counts_cells_and_clusters() -> None:
    report = json.loads(emit_results_json(_RESULTS, run_id="r", wall_s=2.0))
    assert report["counts"] == {"built": 1, "excluded": 1, "failed": 2, "refused": 1, "skipped": 1}
    assert {failure["code"] for failure in report["failures"]} == {"compiler-error", "disk-full"}
    assert report["cells"][1]["failure"]["hint"] == "mend it"


def test_the_table_shows_text_of_logs_as_it_is() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    failure = Failure(failure_class=FailureClass.COMPILE, code="compiler-error", detail="[bold]not markup[/bold]")
    console.print(emit_results_table([_result("6.1.0-9-amd64", Status.FAILED, failure)], wide=True))
    assert "[bold]not markup[/bold]" in console.export_text()


def test_a_pass_without_its_hardware_does_not_look_like_one_with_it() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    note = "core: not exercised: no hardware: its init must answer ENODEV: no card"
    boot = BootEvidence(
        cell="c", key="k", digest="d", passed=True, run="r", finished="f", mode="plain", acceleration="tcg",
        enrolled="nowhere", signed_by="nobody", seconds=8.0, notes=(note, "the kernel is tainted O: out of tree"),
    )  # fmt: skip
    console.print(emit_results_table([replace(_result("6.1.0-9-amd64", Status.BOOTED), boot=boot)], wide=False))
    text = " ".join(console.export_text().split())
    assert "plain, unsigned, tcg, 8.0 s" in text
    assert "not exercised: no hardware" in text
    assert "tainted" not in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60.0, "1 min 00 s"), (231.4, "3 min 51 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([], 0),
        ([_RESULTS[0], _RESULTS[3], _RESULTS[5]], 0),
        ([_RESULTS[1]], 11),
        ([_RESULTS[2]], 17),
        ([_RESULTS[4]], 10),
        ([_RESULTS[1], _RESULTS[2]], 20),
    ],
)
def test_exit_codes(results: list[CellResult], code: int) -> None:
    assert exit_code_of(results) == code
