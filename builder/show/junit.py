"""Results as JUnit XML, which every CI system can show. Pure."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from builder.build.result import Status
from builder.errors import FailureClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.build.result import CellResult

# What XML 1.0 cannot hold, not even escaped (section 2.2).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_RUN = frozenset({Status.SKIPPED, Status.EXCLUDED})


def emit_junit(results: Sequence[CellResult]) -> str:
    """Return one suite per driver and one case per cell; what the infrastructure failed at is an error."""
    root = ET.Element("testsuites", name="kmodsmith")
    by_driver = sorted(results, key=lambda result: result.decision.cell.driver)
    for driver, group in groupby(by_driver, key=lambda result: result.decision.cell.driver):
        cases = list(group)
        suite = ET.SubElement(root, "testsuite", name=driver, tests=str(len(cases)))
        for result in cases:
            suite.append(_case(result))
        for kind in ("failure", "error", "skipped"):
            plural = kind if kind == "skipped" else f"{kind}s"
            suite.set(plural, str(sum(case.find(kind) is not None for case in suite)))
        suite.set("time", f"{sum(result.duration_s for result in cases):.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(result: CellResult) -> ET.Element:
    cell = result.decision.cell
    case = ET.Element("testcase", classname=cell.driver, name=cell.kernel.raw, time=f"{result.duration_s:.3f}")
    failure = result.failure
    if failure is not None:
        kind = "error" if failure.failure_class is FailureClass.INFRASTRUCTURE else "failure"
        element = ET.SubElement(case, kind, type=failure.code, message=_clean(failure.detail))
        lines = [failure.location, failure.detail, failure.hint, f"log: {result.log}" if result.log else None]
        lines += [result.decision.explanation] if result.decision.failed else []
        element.text = _clean("\n".join(line for line in lines if line))
    elif result.status is Status.REFUSED:
        ET.SubElement(case, "failure", type=result.decision.reason, message=_clean(result.decision.explanation))
    elif result.status in _NOT_RUN:
        message = f"{result.decision.reason}: {result.decision.explanation}"
        ET.SubElement(case, "skipped", message=_clean(message))
    return case


def _clean(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
