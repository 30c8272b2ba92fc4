"""Plans that many machines carry out, for people."""

from __future__ import annotations

from fakes.outcomes import shown
from fakes.plans import make_plan

from builder.kernel import Arch
from builder.shards.document import PlannedShard
from builder.show.shards import describe_shards, emit_missing, emit_plan_sent, emit_progress, emit_shards_table

_NAME = "oci:quay.test/plans@sha256:0"


def test_each_shard_is_a_row() -> None:
    text = shown(emit_shards_table(make_plan()))
    assert "demo-1/a" in text
    assert "aarch64" in text
    assert [row["cells"] for row in describe_shards(make_plan())] == [["demo-1/a"], ["demo-1/b"]]


def test_a_plan_says_what_it_comes_to_and_what_is_next() -> None:
    shards = (
        PlannedShard(number=0, arch=Arch.X86_64, cells=("demo-1/a",), predicted_s=90.0),
        PlannedShard(number=1, arch=Arch.X86_64, cells=("demo-1/b",), predicted_s=300.0),
    )
    told = [*emit_plan_sent(make_plan(shards=shards, is_guessed=True), _NAME)]
    assert told[0] == "2 images to make in 2 shards, the longest about 5 min 00 s, by guess: no build is on record here"
    assert any(f"shard --plan {_NAME} --shard 0" in line for line in told)


def test_a_plan_without_work_says_so() -> None:
    told = [*emit_plan_sent(make_plan(shards=()), _NAME)]
    assert told[0].startswith("nothing is to be made: 3 images wanted")
    assert not any("shard --plan" in line for line in told)
    assert any(f"gate --plan {_NAME}" in line for line in told)


def test_missing_evidence_is_told_in_order() -> None:
    told = [*emit_missing({7: "shard 7 left no evidence", 2: "shard 2 left no evidence"})]
    assert [line.partition(":")[0] for line in told] == ["shard 2 left no evidence", "shard 7 left no evidence"]


def test_progress_shows_what_came_of_each_shard() -> None:
    text = shown(emit_progress(make_plan(), {1: ("2026-01-01T00:01:00Z", "1 failed; exit 11")}))
    assert "no evidence yet" in text
    assert "1 failed; exit 11" in text
