"""From channel to image, in hours that were measured."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.site_facts import MADE, facts_of, make_build, make_cell, make_kernel, make_publish, stamp

from builder.site.facts import CellState, SiteFacts
from builder.site.freshness import measure_arrivals, parse_time

_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_SEEN = MADE - timedelta(hours=100)


def _facts(state: CellState = CellState.PUBLISHED, *, seen: str = stamp(_SEEN)) -> SiteFacts:
    cell = make_cell(_K1, state, finished=_SEEN + timedelta(hours=6))
    return facts_of([cell], kernels=[make_kernel(_K1, ("4.16.1",), seen=seen)])


def test_the_first_name_in_a_registry_counts_and_not_a_later_one() -> None:
    facts = _facts()
    again = make_publish(facts.cells[0].id, _K1, finished=MADE)
    (came,) = measure_arrivals(replace(facts, publishes=(again, *facts.publishes))).came
    assert (came.hours, came.by, came.month) == (6.0, "published", "2026-11")


def test_what_was_never_published_counts_from_its_first_image() -> None:
    facts = _facts(CellState.BOOTED)
    assert [(item.hours, item.by) for item in measure_arrivals(facts).came] == [(6.0, "built")]
    local = replace(make_publish(facts.cells[0].id, _K1, finished=_SEEN), name="localhost/gpu:1")
    assert [item.by for item in measure_arrivals(replace(facts, publishes=(local,))).came] == ["built"]


def test_what_is_wanted_and_not_there_is_late() -> None:
    found = measure_arrivals(_facts(CellState.NOT_BUILT))
    assert [(item.hours, item.ready, item.by) for item in found.late] == [(100.0, "", "")]
    assert (found.came, found.months) == ((), ())


@pytest.mark.parametrize("state", [CellState.NOT_WANTED, CellState.KNOWN_BAD, CellState.ACKNOWLEDGED])
def test_nobody_waits_for_what_is_not_wanted(state: CellState) -> None:
    assert measure_arrivals(_facts(state)).late == ()


def test_what_has_no_date_is_counted_and_not_guessed() -> None:
    found = measure_arrivals(_facts(seen=""))
    assert (found.undated, found.came, found.late) == (1, (), ())


def test_an_image_that_was_only_found_again_has_no_time() -> None:
    facts = _facts(CellState.BOOTED)
    derived = tuple(replace(item, derived=True) for item in facts.builds)
    assert len(measure_arrivals(replace(facts, builds=derived)).late) == 1


def test_an_image_that_was_there_before_the_channel_took_no_time() -> None:
    facts = _facts(CellState.BOOTED)
    early = (make_build(facts.cells[0].id, _K1, finished=_SEEN - timedelta(days=3)),)
    assert [item.hours for item in measure_arrivals(replace(facts, builds=early)).came] == [0.0]


def test_months() -> None:
    cells = [
        make_cell(f"5.14.0-427.{number}.1.el9_4.x86_64", finished=_SEEN + timedelta(hours=number))
        for number in range(1, 21)
    ]
    facts = facts_of(cells, kernels=[make_kernel(cell.kernel, seen=stamp(_SEEN)) for cell in cells])
    (month,) = measure_arrivals(facts).months
    assert (month.month, month.cells, month.p50, month.p95) == ("2026-11", 20, 10.0, 19.0)


def test_a_time_of_somebody_elses_may_be_none() -> None:
    assert parse_time("") is parse_time("yesterday") is None
    facts = _facts(CellState.BOOTED)
    broken = tuple(replace(item, finished="soon") for item in facts.builds)
    assert [item.hours for item in measure_arrivals(replace(facts, builds=broken)).came] == [100.0]


def test_by_kernel_the_newest_comes_first_and_what_is_waited_for_is_counted() -> None:
    older, newer = "5.14.0-427.9.1.el9_4.x86_64", _K1
    cells = [
        *(make_cell(older, driver=driver, finished=_SEEN + timedelta(hours=hours)) for driver, hours in (("gpu", 2), ("nic", 9), ("fpga", 4))),
        make_cell(newer, driver="gpu", finished=_SEEN + timedelta(hours=60)), make_cell(newer, CellState.NOT_BUILT, driver="nic"),
    ]  # fmt: skip
    kernels = [make_kernel(older, seen=stamp(_SEEN)), make_kernel(newer, seen=stamp(_SEEN + timedelta(hours=50)))]
    found = measure_arrivals(facts_of(cells, kernels=kernels)).kernels
    assert [(item.kernel, item.cells, item.p50, item.p95, item.waiting) for item in found] == [
        (newer, 1, 10.0, 10.0, 1), (older, 3, 4.0, 9.0, 0),
    ]  # fmt: skip
