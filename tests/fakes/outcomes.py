"""Cells and how they ended: one of every kind."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from builder.build.result import CellResult, Status
from builder.errors import Failure, FailureClass
from builder.kernel import parse_kernel_version
from builder.plan.decide import Action, Decision, Reason
from builder.plan.matrix import Cell

if TYPE_CHECKING:
    from rich.console import RenderableType


def make_cell_result(kernel: str, status: Status, failure: Failure | None = None, driver: str = "demo") -> CellResult:
    cell = Cell(driver=driver, driver_version="1.0.0", kernel=parse_kernel_version(kernel), source="debian")
    decision = Decision(
        cell=cell, action=Action.BUILD, reason=Reason.NEVER_BUILT, explanation="no build of it is known here"
    )
    return CellResult(
        decision=decision, status=status, duration_s=1.25, failure=failure, log="cells/x/build.log" if failure else ""
    )


COMPILE_FAILURE = Failure(
    failure_class=FailureClass.COMPILE,
    code="compiler-error",
    detail="a.c:1: error: <x> & \x1b[31m]]>",
    location="a.c:1",
    hint="mend it",
)
DISK_FAILURE = Failure(failure_class=FailureClass.INFRASTRUCTURE, code="disk-full", detail="No space left on device")
RESULTS = [
    make_cell_result("6.1.0-9-amd64", Status.BUILT),
    make_cell_result("6.1.0-10-amd64", Status.FAILED, COMPILE_FAILURE),
    make_cell_result("6.12.5+deb12-amd64", Status.FAILED, DISK_FAILURE),
    make_cell_result("6.1.0-9-amd64", Status.SKIPPED, driver="other"),
    make_cell_result("6.1.0-9-arm64", Status.REFUSED, driver="other"),
    make_cell_result("6.1.0-9-cloud-amd64", Status.EXCLUDED, driver="other"),
]


def shown(renderable: RenderableType, width: int = 160) -> str:
    """Return what a terminal of this width shows."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()
