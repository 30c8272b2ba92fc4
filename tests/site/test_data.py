"""The JSON beside pages: documented, and the same as what pages say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.site_facts import BUILD_LOG, make_facts

from builder.host.progress import no_progress
from builder.site.data import FORMAT_VERSION
from builder.site.facts import READY, CellState
from builder.site.write import render_site

if TYPE_CHECKING:
    from builder.site.facts import SiteFacts

_DOCUMENT = Path(__file__).parents[2] / "docs" / "site.md"


@pytest.fixture(scope="module")
def facts() -> SiteFacts:
    return make_facts(3)


@pytest.fixture(scope="module")
def data(facts: SiteFacts, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    work_dir = tmp_path_factory.mktemp("work")
    for cell in facts.cells:
        if cell.evidence and cell.evidence.failure:
            log = work_dir / cell.evidence.log
            log.parent.mkdir(parents=True)
            log.write_text(BUILD_LOG)
    site = render_site(facts, work_dir=work_dir, progress=no_progress)
    return {name: json.loads(text) for name, text in site if name.endswith(".json") and not name.startswith(".")}


def test_every_document_says_its_format_and_when_it_was_so(data: dict[str, Any], facts: SiteFacts) -> None:
    assert {f"{name}.json" for name in ("index", "failures", "releases", "freshness", "trends")} < data.keys()
    assert {(item["format"], item["made"]) for item in data.values()} == {(FORMAT_VERSION, "2026-11-27T12:00:00Z")}
    assert len(data) == 5 + len(facts.cells)


def test_the_matrix_has_every_cell_and_counts_them(data: dict[str, Any], facts: SiteFacts) -> None:
    matrix = data["index.json"]
    assert [row["cell"] for row in matrix["cells"]] == [cell.id for cell in facts.cells]
    assert sum(matrix["counts"].values()) == len(facts.cells)
    assert (
        matrix["ready"]
        == sum(row["ready"] for row in matrix["cells"])
        == sum(cell.state in READY for cell in facts.cells)
    )
    assert {row["until"] for row in matrix["cells"] if row["state"] == CellState.KNOWN_BAD} == {"2027-01-31"}


def test_a_cells_document_is_where_the_matrix_says(data: dict[str, Any]) -> None:
    for row in data["index.json"]["cells"]:
        own = data[row["page"].replace(".html", ".json")]
        assert {name: own[name] for name in row} == row


def test_failures_releases_freshness_and_trends(data: dict[str, Any]) -> None:
    (cause,) = data["failures.json"]["causes"]
    assert cause["code"] == "implicit-declaration"
    assert "vma_set_flags(vma, VM_IO" in cause["lines"]
    assert {item["verdict"] for item in data["releases.json"]["releases"]} == {"ready", "missing"}
    assert all(item["p50"] <= item["p95"] for item in data["freshness.json"]["months"])
    assert {item["by"] for item in data["freshness.json"]["late"]} == {None}
    assert {item["stage"] for item in data["trends.json"]["stages"]} >= {"compile", "boot"}
    assert [item["about"] for item in data["trends.json"]["quotes"]][1] == "s390x"
    assert data["trends.json"]["quotes"][1]["wall"] is None
    assert [item["symbol"] for item in cause["changes"]] == ["vma_set_flags"]
    assert {step["counts"]["changed"] for item in data["releases.json"]["drift"] for step in item["steps"]} > {0}


def test_the_document_names_every_key(data: dict[str, Any]) -> None:
    text = _DOCUMENT.read_text()
    said = set(re.findall(r"`([a-z0-9_]+)`", text))
    keys: set[str] = set()
    cells = [value for name, value in data.items() if name.startswith("cells/")]
    for document in (*(value for name, value in data.items() if not name.startswith("cells/")), *cells):
        keys |= document.keys()
    for rows in (
        data["index.json"]["cells"], data["index.json"]["components"], data["failures.json"]["causes"],
        data["releases.json"]["releases"], data["releases.json"]["kernels"], data["freshness.json"]["months"],
        data["freshness.json"]["late"], data["trends.json"]["runs"], data["trends.json"]["stages"],
        data["releases.json"]["drift"], data["freshness.json"]["kernels"],
    ):  # fmt: skip
        keys |= rows[0].keys()
    assert keys - said == set()
    assert {str(state) for state in CellState} <= set(re.findall(r"`([a-z-]+)`", text))
