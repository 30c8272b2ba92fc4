"""Predictions from recorded times, and what is left while a run goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.evidence import make_evidence

from builder.evidence.records import BootEvidence, CellEvidence, CellOutcome
from builder.kernel import parse_kernel_version
from builder.plan.decide import Action, Decision, Plan, Reason
from builder.plan.matrix import Cell
from builder.plan.prediction import TimeToGo, longest_first, predict_cells, wall_seconds


def _decision(
    driver: str = "demo", kernel: str = "6.1.0-9-amd64", action: Action = Action.BUILD, boot: str = ""
) -> Decision:
    cell = Cell(driver=driver, driver_version="1", kernel=parse_kernel_version(kernel), source="debian")
    return Decision(cell=cell, action=action, reason=Reason.NEVER_BUILT, explanation="", key="k", boot_key=boot)


def _built(decision: Decision, **timings: float) -> CellEvidence:
    evidence = replace(make_evidence(decision.cell.id), outcome=CellOutcome.BUILT, failure=None, timings=timings)
    return replace(evidence, driver=decision.cell.driver)


def _booted(decision: Decision, seconds: float) -> BootEvidence:
    return BootEvidence(
        cell=decision.cell.id, key="b", digest="d", passed=True, run="r", finished="2026-11-23T00:00:00Z",
        mode="secure", acceleration="tcg", enrolled="", signed_by="throwaway", seconds=seconds,
    )  # fmt: skip


_ONE = _decision()
_TWO = _decision(kernel="6.1.0-10-amd64")
_OTHER = _decision(driver="other")


def test_a_cell_takes_what_it_took_before_and_a_new_one_what_others_took() -> None:
    plan = Plan(decisions=(_ONE, _TWO, _OTHER))
    history = [_built(_ONE, toolkit=9.0, compile=2.0, fit=0.5, assemble=0.5, boot=7.0)]
    assert predict_cells(plan, history, missing_toolkits=0) == {
        _ONE.cell.id: 3.0, _TWO.cell.id: 3.0, _OTHER.cell.id: 3.0,
    }  # fmt: skip
    history.append(_built(_decision(kernel="6.1.0-11-amd64"), compile=5.0))
    history.append(_built(_OTHER, compile=11.0))
    assert predict_cells(plan, history, missing_toolkits=0) == {
        _ONE.cell.id: 3.0, _TWO.cell.id: 4.0, _OTHER.cell.id: 11.0,
    }  # fmt: skip


def test_toolkits_that_have_to_be_made_are_waited_for() -> None:
    plan = Plan(decisions=(_ONE, _TWO))
    history = [_built(_ONE, toolkit=6.0, compile=2.0), _built(_TWO, toolkit=0.1, compile=2.0)]
    assert predict_cells(plan, history, missing_toolkits=1) == {_ONE.cell.id: 8.0, _TWO.cell.id: 2.0}


def test_boots_have_times_of_their_own() -> None:
    plan = Plan(decisions=(_decision(boot="b"),))
    history = [_built(_ONE, compile=2.5)]
    assert predict_cells(plan, history, missing_toolkits=0) is None
    others = [_booted(_TWO, 8.0), _booted(_OTHER, 20.0)]
    assert predict_cells(plan, history, missing_toolkits=0, boots=others) == {_ONE.cell.id: 10.5}
    assert predict_cells(plan, history, missing_toolkits=0, boots=[*others, _booted(_ONE, 9.0)]) == {_ONE.cell.id: 11.5}
    only = Plan(decisions=(_decision(action=Action.BOOT, boot="b"),))
    assert predict_cells(only, [], missing_toolkits=0, boots=others) == {_ONE.cell.id: 8.0}


def test_nothing_is_predicted_of_nothing() -> None:
    plan = Plan(decisions=(_ONE,))
    assert predict_cells(plan, [], missing_toolkits=0) is None
    assert predict_cells(plan, [make_evidence(_ONE.cell.id)], missing_toolkits=0) is None
    assert predict_cells(Plan(decisions=()), [], missing_toolkits=0) == {}
    assert predict_cells(Plan(decisions=(_decision(action=Action.SKIP),)), [], missing_toolkits=0) == {}


@pytest.mark.parametrize(
    ("durations", "workers", "busy", "wall"),
    [
        ([], 1, (), 0.0),
        ([1.0, 2.0, 3.0], 1, (), 6.0),
        ([3.0, 1.0, 1.0], 2, (), 3.0),
        ([1.0, 1.0, 3.0], 2, (), 4.0),
        ([1.0], 2, (5.0,), 5.0),
        ([2.0, 2.0], 2, (5.0, 1.0), 5.0),
        ([1.0] * 6, 4, (), 2.0),
    ],
)
def test_workers_take_what_comes_next(
    durations: list[float], workers: int, busy: tuple[float, ...], wall: float
) -> None:
    assert wall_seconds(durations, workers, busy) == wall


def test_what_is_left_shrinks_and_is_corrected() -> None:
    to_go = TimeToGo(seconds=dict.fromkeys("abcd", 10.0), cells="abcd", workers=2)
    assert to_go.left_s(0.0) == 20.0
    to_go.start("a", 0.0)
    to_go.start("b", 0.0)
    assert to_go.left_s(4.0) == 16.0
    to_go.finish("a", 20.0)  # twice as long as predicted; half of that is believed of one cell
    assert to_go.left_s(20.0) == pytest.approx(15.0)
    assert to_go.left_s(12.0) == pytest.approx(18.0)  # b is expected at 15
    to_go.finish("b", 20.0)
    to_go.start("c", 20.0)
    to_go.start("d", 20.0)
    assert to_go.left_s(20.0) == pytest.approx(10.0 * (2 / 3 * 2 + 1 / 3))
    assert to_go.left_s(1000.0) == 0.0
    to_go.finish("c", 30.0)
    to_go.finish("d", 30.0)
    assert to_go.left_s(30.0) == 0.0


def test_a_first_run_learns_from_what_is_finished() -> None:
    to_go = TimeToGo(seconds={}, cells="abc", workers=1)
    assert to_go.left_s(0.0) is None
    to_go.start("a", 0.0)
    assert to_go.left_s(5.0) is None
    to_go.finish("a", 6.0)
    assert to_go.left_s(6.0) == 12.0
    to_go.finish("never started", 6.0)


def test_what_takes_longest_is_begun_first_and_else_the_order_stays() -> None:
    seconds = {_TWO.cell.id: 2.0, _ONE.cell.id: 1.0}
    assert longest_first([_ONE, _TWO], seconds) == [_TWO, _ONE]
    assert longest_first([_ONE, _TWO], {}) == [_ONE, _TWO]
    assert longest_first([_ONE, _TWO], dict.fromkeys(seconds, 1.0)) == [_ONE, _TWO]
