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
    from builder.components.result import ComponentResult
    from builder.errors import Failure

# What XML 1.0 cannot hold, not even escaped (section 2.2).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_RUN = frozenset({Status.SKIPPED, Status.EXCLUDED})


def emit_junit(results: Sequence[CellResult], components: Sequence[ComponentResult] = ()) -> str:
    """Return a suite per driver with a case per cell, and one of component images.

    What the infrastructure failed at is an error.
    """
    root = ET.Element("testsuites", name="kmodsmith")
    if components:
        root.append(_suite("components", [_component_case(item) for item in components], components))
    by_driver = sorted(results, key=lambda result: result.decision.cell.driver)
    for driver, group in groupby(by_driver, key=lambda result: result.decision.cell.driver):
        cases = list(group)
        root.append(_suite(driver, [_case(result) for result in cases], cases))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(name: str, cases: Sequence[ET.Element], results: Sequence[CellResult | ComponentResult]) -> ET.Element:
    suite = ET.Element("testsuite", name=name, tests=str(len(cases)))
    suite.extend(cases)
    for kind in ("failure", "error", "skipped"):
        plural = kind if kind == "skipped" else f"{kind}s"
        suite.set(plural, str(sum(case.find(kind) is not None for case in suite)))
    suite.set("time", f"{sum(result.duration_s for result in results):.3f}")
    return suite


def _add_failure(case: ET.Element, failure: Failure, log: str, *more: str) -> None:
    kind = "error" if failure.failure_class is FailureClass.INFRASTRUCTURE else "failure"
    element = ET.SubElement(case, kind, type=failure.code, message=_clean(failure.detail))
    lines = [failure.location, failure.detail, failure.hint, f"log: {log}" if log else None, *more]
    element.text = _clean("\n".join(line for line in lines if line))


def _component_case(result: ComponentResult) -> ET.Element:
    decision, evidence = result.decision, result.evidence
    case = ET.Element("testcase", classname="components", name=decision.item.id, time=f"{result.duration_s:.3f}")
    if result.failure is not None:
        _add_failure(case, result.failure, evidence.log if evidence else "")
    elif result.status == "refused":
        ET.SubElement(case, "failure", type=decision.reason, message=_clean(decision.explanation))
    elif result.status == "skipped":
        ET.SubElement(case, "skipped", message=_clean(f"{decision.reason}: {decision.explanation}"))
    return case


def _case(result: CellResult) -> ET.Element:
    cell = result.decision.cell
    case = ET.Element("testcase", classname=cell.driver, name=cell.kernel.raw, time=f"{result.duration_s:.3f}")
    failure = result.failure
    if failure is not None:
        _add_failure(case, failure, result.log, *([result.decision.explanation] if result.decision.failed else ()))
    elif result.status is Status.REFUSED:
        ET.SubElement(case, "failure", type=result.decision.reason, message=_clean(result.decision.explanation))
    elif result.status in _NOT_RUN:
        message = f"{result.decision.reason}: {result.decision.explanation}"
        ET.SubElement(case, "skipped", message=_clean(message))
    return case


def _clean(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
