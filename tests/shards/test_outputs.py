"""Results of Tekton tasks: small, and the same keys always."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.plans import make_plan

from builder.shards.outputs import evidence_outputs, plan_outputs, write_outputs

if TYPE_CHECKING:
    from pathlib import Path


def test_a_plan_gives_shards_for_a_matrix_and_counts_for_its_guard() -> None:
    found = plan_outputs("oci:quay.test/plans@sha256:0", make_plan())
    assert found["PLAN_ARTIFACT"] == "oci:quay.test/plans@sha256:0"
    assert (found["PLAN_ARTIFACT_URI"], found["PLAN_ARTIFACT_DIGEST"]) == ("quay.test/plans", "sha256:0")
    assert (found["shards"], found["count"]) == ('["0","1"]', "2")
    assert (found["shards-amd64"], found["count-amd64"]) == ('["0"]', "1")
    assert (found["shards-arm64"], found["count-arm64"]) == ('["1"]', "1")
    assert (found["shards-s390x"], found["count-s390x"]) == ("[]", "0")


def test_a_plan_without_work_has_an_empty_matrix_that_its_guard_sees() -> None:
    found = plan_outputs("x", make_plan(shards=()))
    assert (found["shards"], found["count"]) == ("[]", "0")


@pytest.mark.parametrize(
    ("code", "good", "bad", "result"),
    [(0, 3, 0, "SUCCESS"), (0, 0, 0, "SKIPPED"), (11, 2, 1, "FAILURE"), (7, 0, 0, "ERROR"), (17, 3, 0, "ERROR")],
)
def test_konflux_reads_what_came_of_it(code: int, good: int, bad: int, result: str) -> None:
    found = evidence_outputs("n", summary="s", code=code, good=good, bad=bad, warnings=0, finished="t")
    told = json.loads(found["TEST_OUTPUT"])
    assert told["result"] == result
    assert set(told) == {"result", "timestamp", "namespace", "successes", "failures", "warnings", "note"}


def test_chains_is_told_of_evidence_and_of_no_image_that_it_would_sign_once_more() -> None:
    found = evidence_outputs(
        "oci:quay.test/plans@sha256:1", summary="s", code=0, good=1, bad=0, warnings=0, finished="t"
    )
    assert (found["EVIDENCE_ARTIFACT_URI"], found["EVIDENCE_ARTIFACT_DIGEST"]) == ("quay.test/plans", "sha256:1")
    assert not [name for name in found if name == "IMAGES" or "IMAGE_" in name]


def test_results_stay_below_what_tekton_takes() -> None:
    name = f"oci:{'n' * 200}@sha256:{'0' * 64}"
    found = evidence_outputs(name, summary="ü" * 5000, code=0, good=1, bad=0, warnings=0, finished="t")
    assert sum(len(name) + len(text.encode()) for name, text in found.items()) < 3800


def test_each_output_is_a_file_without_an_end_of_line(tmp_path: Path) -> None:
    write_outputs(tmp_path / "results", {"count": "2"})
    assert {file.name: file.read_bytes() for file in (tmp_path / "results").iterdir()} == {"count": b"2"}
    write_outputs(None, {"count": "2"})
