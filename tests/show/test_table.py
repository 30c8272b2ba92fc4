"""Plans and results for people."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from fakes.outcomes import make_cell_result, shown
from rich.console import Console

from builder.build.result import Status
from builder.errors import Failure, FailureClass
from builder.evidence.records import BootEvidence
from builder.plan.decide import Plan
from builder.show.table import emit_causes, emit_plan_table, emit_results_table, format_duration


def test_the_table_shows_text_of_logs_as_it_is() -> None:
    failure = Failure(failure_class=FailureClass.COMPILE, code="compiler-error", detail="[bold]not markup[/bold]")
    assert "[bold]not markup[/bold]" in emit_causes([make_cell_result("6.1.0-9-amd64", Status.FAILED, failure)]).plain


def test_a_reason_with_brackets_is_told_as_it_is() -> None:
    """Who wrote '[/dev/x]' into the reason of a known problem broke every plan."""
    decision = replace(make_cell_result("6.1.0-9-amd64", Status.BUILT).decision, explanation="see [/dev/x], [b]7[/b]")
    assert "see [/dev/x], [b]7[/b]" in shown(emit_plan_table(Plan(decisions=(decision,)), wide=False))


def test_a_cause_is_one_line_however_long_it_is() -> None:
    """Who searches a log in CI for a message finds it, and a path can be copied."""
    detail = f"a.c:1: error: {'word ' * 100}/usr/src/{'x' * 300}/end"
    failure = Failure(failure_class=FailureClass.COMPILE, code="compiler-error", detail=detail)
    causes = emit_causes([make_cell_result("6.1.0-9-amd64", Status.FAILED, failure)])
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(causes, soft_wrap=True)
    assert f"  {detail}\n" in console.export_text()


def test_a_pass_without_its_hardware_does_not_look_like_one_with_it() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    note = "core: not exercised: no hardware: its init must answer ENODEV: no card"
    boot = BootEvidence(
        cell="c", key="k", digest="d", passed=True, run="r", finished="f", mode="plain", acceleration="tcg",
        enrolled="nowhere", signed_by="nobody", seconds=8.0, notes=(note, "the kernel is tainted O: out of tree"),
    )  # fmt: skip
    console.print(
        emit_results_table([replace(make_cell_result("6.1.0-9-amd64", Status.BOOTED), boot=boot)], wide=False)
    )
    text = " ".join(console.export_text().split())
    assert "plain, unsigned, tcg, 8.0 s" in text
    assert "not exercised: no hardware" in text
    assert "tainted" not in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60.0, "1 min 00 s"), (231.4, "3 min 51 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
