"""Percentiles are values that were measured."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.site.statistics import percentile


@pytest.mark.parametrize(
    ("values", "percent", "wanted"),
    [([3.0], 50, 3.0), ([1.0, 2.0], 50, 1.0), ([4.0, 1.0, 3.0, 2.0], 50, 2.0), ([1.0, 2.0, 3.0], 95, 3.0),
     ([float(n) for n in range(1, 101)], 95, 95.0), ([1.0, 2.0], 0, 1.0), ([1.0, 2.0], 100, 2.0)],
)  # fmt: skip
def test_nearest_rank(values: list[float], percent: float, wanted: float) -> None:
    assert percentile(values, percent) == wanted


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.floats(0, 100))
def test_it_is_one_of_them_and_so_many_are_not_above(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-6


def test_there_is_none_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)
