"""How cells ended, in one exit code."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.outcomes import RESULTS

from builder.build.result import CellResult, Status, exit_code_of, result_without_work
from builder.errors import FailureClass
from builder.plan.decide import Action, Reason


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([], 0),
        ([RESULTS[0], RESULTS[3], RESULTS[5]], 0),
        ([RESULTS[1]], 11),
        ([RESULTS[2]], 17),
        ([RESULTS[4]], 10),
        ([RESULTS[1], RESULTS[2]], 20),
    ],
)
def test_exit_codes(results: list[CellResult], code: int) -> None:
    assert exit_code_of(results) == code


@pytest.mark.parametrize(
    ("action", "status"),
    [(Action.SKIP, Status.SKIPPED), (Action.EXCLUDE, Status.EXCLUDED), (Action.REFUSE, Status.REFUSED)],
)
def test_cells_for_which_nothing_is_done_have_a_result_too(action: Action, status: Status) -> None:
    result = result_without_work(replace(RESULTS[0].decision, action=action, digest="sha256:1"))
    assert (result.status, result.digest, result.duration_s) == (status, "sha256:1", 0.0)


@pytest.mark.parametrize("reason", [Reason.REGISTRY_UNKNOWN, Reason.TOOLKIT_UNKNOWN])
def test_a_refusal_for_want_of_an_answer_is_the_infrastructures(reason: Reason) -> None:
    refused = replace(RESULTS[4], decision=replace(RESULTS[4].decision, reason=reason))
    assert exit_code_of([refused]) == FailureClass.INFRASTRUCTURE.exit_code
