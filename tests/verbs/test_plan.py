"""The verb plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fakes.bench import Bench

if TYPE_CHECKING:
    from fakes.bench import Bench


def test_plan_table_and_json_agree(bench: Bench) -> None:
    code, out, _ = bench.run("plan")
    assert code == 0
    assert "4 cells: 4 to build; no recorded timings to predict from" in out
    bench.build()
    plan = json.loads(bench.run("plan", "--json", "--group", "all")[1])
    assert plan["counts"] == {"build": 2, "skip": 4}
    assert plan["predicted_s"] is not None
