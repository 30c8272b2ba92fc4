"""Templates and the files beside them: held by reading, so that no page can load or run what is not its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from builder.site.facts import CellState
from builder.site.releases import Outlook
from builder.site.templates import ASSETS, open_templates, read_assets
from builder.site.trends import STAGES

_HERE = Path(__file__).parents[2] / "builder" / "site"
_TEMPLATES = sorted((_HERE / "templates").iterdir())


def test_all_files_that_lie_there_are_used() -> None:
    assert set(ASSETS) == {file.name for file in (_HERE / "assets").iterdir()}
    assert read_assets().keys() == set(ASSETS)


def test_what_nobody_gave_is_an_error_and_not_a_blank() -> None:
    with pytest.raises(UndefinedError):
        open_templates().from_string("{{ absent }}").render()
    assert open_templates().from_string("{{ text }}").render(text="<b>") == "&lt;b&gt;"


@pytest.mark.parametrize("file", _TEMPLATES, ids=lambda file: file.name)
def test_templates_put_nothing_in_unescaped_and_hold_no_style_or_script_of_their_own(file: Path) -> None:
    text = file.read_text()
    assert "| safe" not in text
    assert "|safe" not in text
    assert "autoescape" not in text
    assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:", text)
    assert re.findall(r"<script[^>]*>", text) == (
        ['<script src="{{ root }}assets/site.js" defer>'] if file.name == "base.html" else []
    )


def test_every_page_has_the_strict_policy() -> None:
    (policy,) = re.findall(
        r'Content-Security-Policy" content="([^"]*)"', (_HERE / "templates" / "base.html").read_text()
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data:",
        "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip


def test_nothing_comes_from_elsewhere() -> None:
    for text in (*(file.read_text() for file in _TEMPLATES), *read_assets().values()):
        assert set(re.findall(r"\w+://[^\s'\"%)]+", text)) <= {"http://www.w3.org/2000/svg"}
    script = read_assets()["site.js"]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|fetch\(|XMLHttp|import\(|WebSocket|sendBeacon",
        script,
    )


def test_every_state_verdict_and_stage_has_a_look_and_a_sign() -> None:
    style = read_assets()["site.css"]
    for name in (*(f"s-{state}" for state in CellState), *(f"v-{verdict}" for verdict in Outlook)):
        (rule,) = re.findall(rf"[^}}]*\.{name}(?:, \.[a-z-]+)? {{([^}}]*)}}", style)[:1] or [""]
        assert "--sign: url(" in rule, name
    for name in (*(f"f-s-{state}" for state in CellState), *(f"f-t-{stage}" for stage in STAGES), "f-t-other"):
        assert f".{name}" in style, name
    for stage in STAGES:
        assert f".d-{stage}" in style
