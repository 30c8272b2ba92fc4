"""Plans and results for programs."""

from __future__ import annotations

import json

from fakes.outcomes import RESULTS

from builder.plan.decide import Plan
from builder.show.report import emit_plan_json, emit_results_json


def test_json_has_counts_cells_and_clusters() -> None:
    report = json.loads(emit_results_json(RESULTS, run_id="r", wall_s=2.0))
    assert report["counts"] == {"built": 1, "excluded": 1, "failed": 2, "refused": 1, "skipped": 1}
    assert {failure["code"] for failure in report["failures"]} == {"compiler-error", "disk-full"}
    assert report["cells"][1]["failure"]["hint"] == "mend it"


def test_a_plan_has_counts_and_what_every_cell_is_made_of() -> None:
    plan = Plan(decisions=tuple(result.decision for result in RESULTS))
    report = json.loads("".join(emit_plan_json(plan, None, 2)))
    assert (report["counts"], report["predicted_s"], report["workers"]) == ({"build": 6}, None, 2)
    assert {cell["kernel"] for cell in report["cells"]} == {result.decision.cell.kernel.raw for result in RESULTS}
    assert report["cells"][0]["inputs"] is None
