"""Watching: until all are there, until patience ends, and through moments without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.plans import make_evidence, make_plan

from builder.errors import SourceUnreachableError
from builder.pullspec import parse_pullspec
from builder.shards.artefact import FoundEvidence
from builder.shards.judging import Collected
from builder.shards.watching import watch

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = parse_pullspec(f"quay.test/plans@sha256:{'0' * 64}")


class _World:
    """What is seen at each look, and a clock that pauses move."""

    def __init__(self, *looks: Iterable[int] | None) -> None:
        self.looks = list(looks)
        self.now = 0.0
        self.shown: list[set[int]] = []

    def look(self) -> Collected:
        numbers = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if numbers is None:
            raise SourceUnreachableError("no answer")
        evidence = make_evidence(_NAME.reference)
        return Collected(found={number: FoundEvidence(name=_NAME, evidence=evidence) for number in numbers})

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def run(self, patience_s: float | None = None) -> Collected:
        return watch(
            make_plan(), self.look, lambda found: self.shown.append(set(found.found)), patience_s=patience_s,
            clock=lambda: self.now, pause=self.pause,
        )  # fmt: skip


def test_it_ends_when_every_shard_left_evidence() -> None:
    world = _World([], [1], [0, 1])
    assert set(world.run().found) == {0, 1}
    assert (world.shown, world.now) == ([set(), {1}, {0, 1}], 20.0)


def test_it_ends_when_patience_does() -> None:
    world = _World([1])
    assert set(world.run(60.0).found) == {1}
    assert world.now == 60.0
    assert _World([]).run(0.0).found == {}


def test_moments_without_an_answer_are_waited_for() -> None:
    world = _World([1], None, None, [0, 1])
    assert set(world.run().found) == {0, 1}
    assert world.shown == [{1}, {0, 1}]


@pytest.mark.parametrize(("patience_s", "waited"), [(None, 300.0), (50.0, 50.0)])
def test_a_registry_that_stays_away_is_told(patience_s: float | None, waited: float) -> None:
    world = _World(None)
    with pytest.raises(SourceUnreachableError):
        world.run(patience_s)
    assert world.now == waited
