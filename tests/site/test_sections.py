"""The matrix in the order in which people read it."""

from __future__ import annotations

from dataclasses import replace

from fakes.site_facts import facts_of, make_cell, make_kernel

from builder.site.facts import CellState, SiteDriver
from builder.site.sections import count_states, list_columns, list_minors, make_sections, name_drivers

_K9, _K10 = (f"5.14.0-427.{number}.1.el9_4.x86_64" for number in (9, 10))
_NEXT = "5.14.0-570.1.1.el9_6.x86_64"


def test_series_and_kernels_are_newest_first() -> None:
    cells = [make_cell(_K9), make_cell(_K10, CellState.FAILED), make_cell(_K10, driver="nic"), make_cell(_NEXT)]
    facts = facts_of(cells, kernels=[make_kernel(_K9, ("4.16.9",)), make_kernel(_K10, ("4.16.10", "4.17.2", "4.17.3"))])
    newest, older = make_sections(facts)
    assert (newest.series, older.series) == ("5.14.0-el9_6", "5.14.0-el9_4")
    assert [row.kernel for row in older.rows] == [_K10, _K9]
    assert (older.minors, older.ready, older.total) == (("4.16", "4.17"), 2, 3)
    assert older.rows[0].span == "4.16.10 … 4.17.3"
    assert older.rows[1].span == "4.16.9"
    assert set(older.rows[0].cells) == {("gpu", "1.4.0"), ("nic", "1.4.0")}
    assert older.rows[0].states == (CellState.FAILED, CellState.PUBLISHED)
    assert list_minors(facts) == ["4.17", "4.16"]


def test_cells_that_groups_sign_otherwise_have_rows_of_their_own() -> None:
    cell = make_cell(_K9)
    (section,) = make_sections(facts_of([cell, replace(cell, id=f"{cell.id}-dev")]))
    assert sorted(row.tail for row in section.rows) == ["", "-dev"]


def test_sources_stay_apart() -> None:
    sections = make_sections(facts_of([make_cell(_K9), make_cell(_K9, source="okd")]))
    assert [section.source for section in sections] == ["openshift", "okd"]


def test_columns_are_the_drivers_and_those_that_only_cells_know() -> None:
    assert list_columns(facts_of([make_cell(_K9, driver="old")])) == [("gpu", "1.4.0"), ("old", "1.4.0")]


def test_states_are_counted_in_their_order() -> None:
    cells = [make_cell(_K9, CellState.FAILED), make_cell(_K10), make_cell(_NEXT)]
    assert list(count_states(cells).items()) == [(CellState.PUBLISHED, 2), (CellState.FAILED, 1)]


def test_drivers_by_name() -> None:
    drivers = [SiteDriver(name=name, version="1.0.0") for name in "abcd"]
    assert name_drivers(drivers[:1]) == "a 1.0.0"
    assert name_drivers(drivers[:3]) == "a, b, c"
    assert name_drivers(drivers) == "4 drivers"
    assert drivers[0].id == "a-1.0.0"
