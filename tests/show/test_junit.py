"""Results as CI systems read them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from fakes.outcomes import RESULTS

from builder.show.junit import emit_junit

_GOLDEN = Path(__file__).parents[1] / "golden"


def test_junit_is_golden_and_can_be_parsed() -> None:
    text = emit_junit(RESULTS)
    assert text == (_GOLDEN / "junit.xml").read_text()
    suites = ET.fromstring(text)
    assert [
        (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped"))
        for suite in suites
    ] == [
        ("demo", "3", "1", "1", "0"),
        ("other", "3", "1", "0", "2"),
    ]
    assert "\x1b" not in text
