"""Shards: each piece of work in exactly one, toolkits together, none with much more than its share."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import UsageError
from builder.evidence.records import BootEvidence, CellEvidence, CellOutcome
from builder.shards.grouping import MOST_SHARDS, Costs, WorkItem, group_work, measure_costs

_WORK = st.lists(
    st.builds(
        lambda number, toolkit, seconds: WorkItem(id=f"demo-1/{number}", toolkit=toolkit, seconds=seconds),
        st.integers(0, 10_000),
        st.sampled_from(["", "a", "b", "c", "d"]),
        st.floats(0.1, 900.0),
    ),
    unique_by=lambda item: item.id,
    max_size=60,
)


def _make(number: int, *, per_toolkit: int = 1, seconds: float = 60.0) -> list[WorkItem]:
    return [
        WorkItem(id=f"demo-1/{index:05}", toolkit=f"kernel-{index // per_toolkit}", seconds=seconds)
        for index in range(number)
    ]


@given(work=_WORK, most=st.integers(1, MOST_SHARDS), toolkit_s=st.floats(0.0, 300.0))
@settings(deadline=None)
def test_each_piece_of_work_is_in_exactly_one_shard(work: list[WorkItem], most: int, toolkit_s: float) -> None:
    shards = group_work(work, most=most, toolkit_s=toolkit_s)
    assert sorted(item for shard in shards for item in shard.items) == sorted(item.id for item in work)
    assert len(shards) <= most
    assert all(shard.items for shard in shards)


@given(work=_WORK, most=st.integers(1, MOST_SHARDS), toolkit_s=st.floats(0.0, 300.0))
@settings(deadline=None)
def test_no_shard_has_more_than_an_even_share_and_one_piece(work: list[WorkItem], most: int, toolkit_s: float) -> None:
    """A piece is one cell with its toolkit, or a family of cells that is no more than a share, or two toolkits' time."""
    shards = group_work(work, most=most, toolkit_s=toolkit_s)
    if not shards:
        return
    even_s = sum(shard.seconds for shard in shards) / len(shards)
    wanted_s = sum(item.seconds for item in work) + toolkit_s * len({item.toolkit for item in work} - {""})
    share_s = max(wanted_s / min(most, max(1, -(-wanted_s // 120))), 2 * toolkit_s)
    piece_s = max(share_s, max(item.seconds for item in work) + toolkit_s)
    assert max(shard.seconds for shard in shards) <= even_s + piece_s + 0.01


@given(work=_WORK, most=st.integers(1, MOST_SHARDS), random=st.randoms())
@settings(deadline=None)
def test_the_order_of_work_does_not_matter(work: list[WorkItem], most: int, random: object) -> None:
    shuffled = list(work)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert group_work(shuffled, most=most, toolkit_s=30.0) == group_work(work, most=most, toolkit_s=30.0)


def test_a_toolkit_s_cells_are_in_one_shard() -> None:
    work = _make(40, per_toolkit=4)
    places: dict[str, set[int]] = {}
    for index, shard in enumerate(group_work(work, most=5, toolkit_s=60.0)):
        for item in shard.items:
            places.setdefault(f"kernel-{int(item[-5:]) // 4}", set()).add(index)
    assert len(places) == 10
    assert all(len(shards) == 1 for shards in places.values())


def test_one_toolkit_with_more_than_a_share_is_cut() -> None:
    shards = group_work(_make(40, per_toolkit=40), most=4, toolkit_s=60.0)
    assert len(shards) == 4
    assert max(shard.seconds for shard in shards) < 40 * 60 / 2


def test_what_takes_no_time_gets_no_machine_of_its_own() -> None:
    assert len(group_work(_make(8, seconds=2.0), most=64, toolkit_s=5.0)) == 1


def test_the_longest_work_comes_first() -> None:
    work = [*_make(6, seconds=200.0), WorkItem(id="demo-1/long", toolkit="", seconds=1200.0)]
    shards = group_work(work, most=2, toolkit_s=0.0)
    assert ("demo-1/long",) in {shard.items for shard in shards}


def test_nothing_to_do_needs_no_shard() -> None:
    assert group_work([], most=8, toolkit_s=60.0) == ()


@pytest.mark.parametrize("most", [0, -1, 65])
def test_there_are_no_more_shards_than_a_pipeline_may_have(most: int) -> None:
    with pytest.raises(UsageError, match=f"1 to 64 shards, not {most}"):
        group_work(_make(1), most=most, toolkit_s=1.0)


def test_ten_thousand_cells_are_cut_evenly() -> None:
    work = [
        WorkItem(id=f"demo-{index % 10}/{index // 10}", toolkit=f"kernel-{index // 10}", seconds=20.0 + index % 7)
        for index in range(10_000)
    ]
    shards = group_work(work, most=64, toolkit_s=90.0)
    loads = [shard.seconds for shard in shards]
    assert len(shards) == 64
    assert max(loads) < 1.05 * sum(loads) / len(loads)


def _cell(number: int, **timings: float) -> CellEvidence:
    return CellEvidence(
        cell=f"demo-1/{number}", driver="demo", kernel=str(number), key="k", outcome=CellOutcome.BUILT, inputs={},
        run="r", finished="2026-01-01T00:00:00Z", timings=timings,
    )  # fmt: skip


def test_costs_are_medians_of_what_is_recorded() -> None:
    boot = BootEvidence(
        cell="demo-1/1", key="k", digest="d", passed=True, run="r", finished="f", mode="secure", acceleration="tcg",
        enrolled="", signed_by="nobody", seconds=7.0,
    )  # fmt: skip
    history = [_cell(1, toolkit=30.0, compile=2.0, assemble=1.0), _cell(2, toolkit=0.1, compile=4.0), _cell(3, fit=9.0)]
    costs = measure_costs(history, [boot])
    assert (costs.by_driver, costs.toolkit_s, costs.boot_s, costs.is_guessed) == ({"demo": 3.5}, 30.0, 7.0, False)
    assert costs.of_cell("demo", is_booted=True) == 10.5
    assert costs.of_cell("other", is_booted=False) == 3.5


def test_without_records_costs_are_guesses() -> None:
    assert measure_costs([_cell(3, fit=9.0)], []) == Costs()
    assert Costs().is_guessed
