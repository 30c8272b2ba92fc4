"""Charts as SVG that says what it shows."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest
from fakes.site_facts import HOSTILE
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builder.errors import escape_controls
from builder.site.charts import (
    Series,
    Share,
    SignRow,
    Span,
    emit_bar,
    emit_changes,
    emit_columns,
    emit_lines,
    emit_spans,
)


def test_a_bar_is_divided_as_its_shares_are() -> None:
    root = ET.fromstring(
        emit_bar([Share(kind="a", word="one", amount=1), Share(kind="b", word="three", amount=3)], sentence="1 and 3")
    )
    assert root.get("aria-label") == "1 and 3"
    assert [(part.get("x"), part.get("width")) for part in root] == [("0", "250"), ("250", "750")]
    assert [part.findtext("title") for part in root] == ["one: 1", "three: 3"]


def test_a_bar_of_nothing_is_empty() -> None:
    assert list(ET.fromstring(emit_bar([], sentence="none"))) == []
    assert ET.fromstring(emit_bar([Share(kind="a", word="w", amount=0)], sentence="s"))[0].get("width") == "0"


def test_a_line_has_a_point_for_each_value_and_none_for_what_was_not_measured() -> None:
    root = ET.fromstring(
        emit_lines(
            ["2026-09", "2026-10", "2026-11"],
            [Series(kind="p50", word="half", values=[2.0, None, 4.0])],
            unit="hours",
            sentence="s",
        )
    )
    points = [(float(item.get("cx", "")), float(item.get("cy", ""))) for item in root.iter("circle")]
    assert len(points) == 2
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1], "more hours are higher up"
    assert [item.text for item in root.iter("text")][-3:] == ["2026-09", "2026-10", "2026-11"]


def test_columns_are_piled_up() -> None:
    root = ET.fromstring(
        emit_columns(
            ["a"],
            [Series(kind="x", word="x", values=[10.0]), Series(kind="y", word="y", values=[30.0])],
            unit="s",
            sentence="s",
        )
    )
    lower, upper = [(float(item.get("y", "")), float(item.get("height", ""))) for item in root.iter("rect")]
    assert math.isclose(upper[0] + upper[1], lower[0], abs_tol=0.02)
    assert math.isclose(upper[1], 3 * lower[1], abs_tol=0.05)


@settings(deadline=None)
@given(st.lists(st.floats(min_value=0, max_value=1e12, allow_nan=False), max_size=40))
@example([5e-324])
@example([2e-323])
def test_no_value_leaves_the_picture(values: list[float]) -> None:
    labels = [str(number) for number in range(len(values))]
    for text in (
        emit_lines(labels, [Series(kind="k", word="w", values=values)], unit="u", sentence="s"),
        emit_columns(labels, [Series(kind="k", word="w", values=values)], unit="u", sentence="s"),
    ):
        for item in ET.fromstring(text).iter():
            for name in ("x", "y", "cx", "cy", "x1", "x2", "y1", "y2"):
                assert 0 <= float(item.get(name, "0")) <= 720


@pytest.mark.parametrize("emit", [emit_lines, emit_columns])
def test_words_of_others_stay_words(emit: object) -> None:
    text = emit([HOSTILE], [Series(kind="k", word=HOSTILE, values=[1.0])], unit=HOSTILE, sentence=HOSTILE)  # type: ignore[operator]
    assert "<script" not in text
    assert "<img" not in text
    assert "<script" not in emit_bar([Share(kind="k", word=HOSTILE, amount=1)], sentence=HOSTILE)


def test_signs_of_rows_stand_below_their_columns_and_differ_in_shape() -> None:
    stacks = [Series(kind="k-changed", word="changed", values=[4.0, 0.0, 2.0])]
    rows = [
        SignRow(name="dma_buf_get", title="used by gpu", kinds=("changed", "", "gone")),
        SignRow(name="x", title="x", kinds=("new", "", "")),
    ]
    root = ET.fromstring(emit_changes(["10", "11", "12"], stacks, rows, unit="symbols", sentence="s"))
    marks = [
        (item.get("class"), item.get("d", "").partition("m")[0], item.findtext("title")) for item in root.iter("path")
    ]
    assert [(kind, title) for kind, _, title in marks] == [
        ("k-changed", "dma_buf_get: changed"), ("k-gone", "dma_buf_get: gone"), ("k-new", "x: new"),
    ]  # fmt: skip
    assert marks[0][1].split()[0] == marks[2][1].split()[0], "both are of the first column"
    assert len({item.get("d", "").partition("m")[2] for item in root.iter("path")}) == 3
    heights = [float(item.get("height", "")) for item in root.iter("rect")]
    assert (len(heights), heights[0]) == (2, 2 * heights[1])


def test_a_long_name_is_cut_in_the_picture_and_whole_when_pointed_at() -> None:
    name = "a" * 90
    text = emit_changes(["1"], [], [SignRow(name=name, title=name, kinds=("gone",))], unit="u", sentence="s")
    root = ET.fromstring(text)
    (shown,) = [item for item in root.iter("text") if item.get("class") == "name"]
    assert (len(shown.text or ""), shown.findtext("title")) == (36, name)


def test_words_of_others_stay_words_in_rows() -> None:
    row = SignRow(name=HOSTILE, title=HOSTILE, kinds=(HOSTILE,))
    text = emit_changes(
        [HOSTILE], [Series(kind="k", word=HOSTILE, values=[1.0])], [row], unit=HOSTILE, sentence=HOSTILE
    )
    assert "<script" not in text
    assert "<img" not in text
    assert list(ET.fromstring(emit_changes([], [], [], unit="u", sentence="s")).iter("rect")) == []


def test_spans_begin_and_end_where_their_values_are() -> None:
    rows = [Span(name="6.1.0-56-amd64", low=2.0, high=8.0), Span(name="6.1.0-55-amd64", low=4.0, high=4.0)]
    root = ET.fromstring(emit_spans(rows, kinds=("p50", "p95"), unit="hours", sentence="s"))
    points = {
        (item.get("cy"), item.get("class")): float(item.get("cx", "")) for item in root.iter("circle")
    }  # fmt: skip
    first, second = [[points[y, kind] for kind in ("p-p50", "p-p95")] for y in ("34", "54")]
    assert first[0] < second[0] == second[1] < first[1] <= 720
    assert [item.text for item in root.iter("text") if item.get("class") == "name"] == [row.name for row in rows]
    assert "8.0 hours" in emit_spans(rows, kinds=("p50", "p95"), unit="hours", sentence="s")


@given(st.lists(st.floats(min_value=0, max_value=1e12, allow_nan=False), max_size=20))
def test_no_span_leaves_the_picture(values: list[float]) -> None:
    rows = [Span(name=HOSTILE, low=value / 2, high=value) for value in values]
    text = escape_controls(emit_spans(rows, kinds=("p50", "p95"), unit=HOSTILE, sentence=HOSTILE))
    assert "<script" not in text
    for item in ET.fromstring(text).iter():
        assert all(0 <= float(item.get(name, "0")) <= 720 for name in ("x", "cx", "x1", "x2"))
