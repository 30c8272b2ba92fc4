"""What runs cost, each cell counted once for what was done to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from fakes.site_facts import COMPILE_ERROR, MADE, facts_of, make_build, stamp

from builder.site.trends import measure_trends

_K = "5.14.0-427.50.1.el9_4.x86_64"
_BUILT = make_build(
    "a", _K, run="one", finished=MADE - timedelta(days=2), timings={"toolkit": 0.01, "compile": 4.0, "boot": 20.0}
)


def test_what_was_compiled_reused_tested_and_failed() -> None:
    again = replace(_BUILT, run="two", finished=stamp(MADE))  # its boot test alone: the build began when it began
    reused = make_build("b", _K, run="two", timings={"assemble": 0.5})
    failed = make_build("c", _K, run="two", failure=COMPILE_ERROR)
    one, two = measure_trends(replace(facts_of([]), builds=(_BUILT, again, reused, failed))).runs
    assert (one.run, one.compiled, one.reused, one.tested, one.failed, one.cells) == ("one", 1, 0, 0, 0, 1)
    assert (two.run, two.compiled, two.reused, two.tested, two.failed, two.cells) == ("two", 0, 1, 1, 1, 3)
    assert "compile" not in one.medians or one.medians["compile"] == 4.0
    assert two.started >= _BUILT.finished, "a run does not begin when an image of an earlier one was begun"


def test_stages_are_counted_once_for_an_image_and_finding_a_toolkit_is_none() -> None:
    again = replace(_BUILT, run="two", timings={**_BUILT.timings, "boot": 30.0})
    other = make_build("b", _K, timings={"toolkit": 20.0, "compile": 6.0})
    stages = {item.stage: item for item in measure_trends(replace(facts_of([]), builds=(_BUILT, again, other))).stages}
    assert list(stages) == ["toolkit", "compile", "boot"]
    assert (stages["compile"].cells, stages["compile"].p50, stages["compile"].most) == (2, 4.0, 6.0)
    assert (stages["toolkit"].cells, stages["toolkit"].p50) == (1, 20.0)
    assert (stages["boot"].cells, stages["boot"].p50) == (1, 30.0)


def test_what_was_only_found_again_is_no_work() -> None:
    assert measure_trends(replace(facts_of([]), builds=(replace(_BUILT, derived=True),))).runs == ()
    assert measure_trends(facts_of([])).stages == ()


def test_a_stage_that_nobody_knows_comes_last() -> None:
    build = make_build("a", _K, timings={"zeal": 1.0, "boot": 2.0})
    assert [item.stage for item in measure_trends(replace(facts_of([]), builds=(build,))).stages] == ["boot", "zeal"]
