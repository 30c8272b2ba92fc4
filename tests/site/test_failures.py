"""Failures once per cause, with the time and the kernel from which on they are there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from fakes.site_facts import BUILD_LOG, COMPILE_ERROR, MADE, facts_of, make_build, make_cell, make_drift, stamp

from builder.errors import Failure, FailureClass
from builder.site.facts import CellState
from builder.site.failures import find_causes, find_source_lines

_OLD, _BAD, _NEW = (f"5.14.0-427.{number}.1.el9_4.x86_64" for number in (9, 10, 11))


def test_cells_of_one_cause_are_one_card() -> None:
    other = replace(make_cell(_NEW, CellState.FAILED, driver="nic"))
    assert other.evidence
    other = replace(
        other, evidence=replace(other.evidence, failure=replace(COMPILE_ERROR, code="missing-header", detail="x.h"))
    )
    causes = find_causes(facts_of([make_cell(_NEW, CellState.FAILED), make_cell(_BAD, CellState.FAILED), other]))
    assert [[cell.kernel for cell in cause.cells] for cause in causes] == [[_BAD, _NEW], [_NEW]]


def test_what_is_green_stale_or_not_wanted_is_no_failure() -> None:
    cells = [make_cell(_OLD), make_cell(_BAD, CellState.STALE), make_cell(_NEW, CellState.NOT_WANTED)]
    assert find_causes(facts_of(cells)) == []


def test_since_is_the_beginning_of_the_last_unbroken_row() -> None:
    cell = make_cell(_BAD, CellState.FAILED)
    days = [MADE - timedelta(days=number) for number in (9, 7, 5, 3)]
    other = Failure(failure_class=FailureClass.COMPILE, code="other", detail="d")

    def history(*failures: Failure | None) -> str:
        builds = tuple(
            make_build(cell.id, _BAD, finished=day, failure=failure)
            for day, failure in zip(days, failures, strict=True)
        )
        (cause,) = find_causes(replace(facts_of([cell]), builds=builds))
        return cause.since

    assert history(COMPILE_ERROR, None, COMPILE_ERROR, COMPILE_ERROR) == stamp(days[2])
    assert history(COMPILE_ERROR, other, COMPILE_ERROR, COMPILE_ERROR) == stamp(days[2])
    assert history(*(COMPILE_ERROR,) * 4) == stamp(days[0])
    assert history(COMPILE_ERROR, COMPILE_ERROR, COMPILE_ERROR, None) == "", "it is on record that it does not fail"


def test_the_nearest_older_green_kernel_of_the_same_kind_is_named() -> None:
    bad = make_cell(_BAD, CellState.FAILED)
    older = "5.14.0-427.8.1.el9_4.x86_64"
    cells = [make_cell(older), make_cell(_OLD), bad, make_cell(_NEW)]
    assert [(cause.last_good, cause.kernel) for cause in find_causes(facts_of(cells))] == [(_OLD, _BAD)]
    for strange in (
        make_cell(_OLD, CellState.STALE), make_cell(_OLD, driver="nic"), make_cell(_OLD, source="okd"),
        make_cell(f"{_OLD}+rt"), make_cell(_OLD.replace("x86_64", "aarch64")),
    ):  # fmt: skip
        assert [(cause.last_good, cause.before) for cause in find_causes(facts_of([strange, bad]))] == [("", "")]


def test_a_kernel_of_an_older_series_is_named_where_the_own_has_none_that_is_green() -> None:
    bad = make_cell(_BAD, CellState.FAILED)
    older = "5.14.0-284.90.1.el9_2.x86_64"
    assert find_causes(facts_of([make_cell(older), bad]))[0].last_good == older
    assert find_causes(facts_of([make_cell(older), make_cell(_OLD), bad]))[0].last_good == _OLD


def test_where_no_older_kernel_is_green_the_nearest_newer_one_is_named() -> None:
    newest = "5.14.0-427.12.1.el9_4.x86_64"
    cells = [
        make_cell(_OLD, CellState.FAILED), make_cell(_BAD, CellState.FAILED), make_cell(newest), make_cell(_NEW),
    ]  # fmt: skip
    (cause,) = find_causes(facts_of(cells))
    assert (cause.last_good, cause.next_good, cause.before, cause.after) == ("", _NEW, _BAD, _NEW)
    (cause,) = find_causes(facts_of([make_cell(_OLD), make_cell(_BAD, CellState.FAILED), make_cell(_NEW)]))
    assert (cause.next_good, cause.before, cause.after) == ("", _OLD, _BAD)


def test_what_the_kernel_changed_belongs_to_the_cause_of_its_cell() -> None:
    facts = facts_of([make_cell(_OLD), make_cell(_BAD, CellState.FAILED)])
    (cause,) = find_causes(replace(facts, changes={make_cell(_BAD).id: (make_drift(0),), "other": (make_drift(1),)}))
    assert [item.symbol for item in cause.changes] == ["vma_set_flags"]


def test_source_lines_are_what_the_compiler_quotes_below_its_error() -> None:
    assert find_source_lines(BUILD_LOG, COMPILE_ERROR).splitlines() == BUILD_LOG.splitlines()[2:5]
    assert find_source_lines("make: nothing to do\n", COMPILE_ERROR) == ""
    assert find_source_lines(BUILD_LOG, replace(COMPILE_ERROR, detail="")) == ""
    endless = COMPILE_ERROR.detail + "\n" + "  1 | x\n" * 100
    assert len(find_source_lines(endless, COMPILE_ERROR).splitlines()) == 8
