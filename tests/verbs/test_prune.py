"""The verb prune."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakes.bench import Bench


def test_prune_takes_nothing_away_from_another_run(bench: Bench) -> None:
    (bench.store / "names").write_text("localhost/kmodsmith/toolkit:old 1\n")
    with bench.another_run():
        code, _, err = bench.run("prune")
        assert (code, "another run uses the container store" in err) == (5, True)
        assert bench.run("prune", "--dry-run")[0] == 0
    assert bench.calls("rmi") == []
    assert (bench.run("prune")[0], bench.calls("rmi")) == (0, [["rmi", "localhost/kmodsmith/toolkit:old"]])
