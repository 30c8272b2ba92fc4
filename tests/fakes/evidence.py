"""Evidence of a cell that failed."""

from __future__ import annotations

from builder.errors import Failure, FailureClass
from builder.evidence.records import CellEvidence, CellOutcome, ModuleRecord


def make_evidence(cell: str, key: str = "k") -> CellEvidence:
    return CellEvidence(
        cell=cell, driver="demo", kernel="6.1.0-9-amd64", key=key, outcome=CellOutcome.FAILED, inputs={"source": "s"},
        run="r", finished="2026-11-23T00:00:00Z", timings={"compile": 1.5},
        modules=(ModuleRecord(name="a.ko", sha256="0" * 64, size=3),),
        failure=Failure(failure_class=FailureClass.COMPILE, code="c", detail="d", location="a.c:1"),
    )  # fmt: skip
