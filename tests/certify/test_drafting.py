from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from builder.certify.checklist import read_checklist
from builder.certify.drafting import draft_checklist
from builder.certify.questions import BY_ID
from builder.plan.project import open_project

if TYPE_CHECKING:
    from fakes.bench import Bench


def test_a_first_checklist_asks_everything_and_answers_what_images_say(bench: Bench) -> None:
    bench.build("--kernel", "6.1.0-10-amd64")
    file = bench.folder / "checklist.yaml"
    file.write_text(draft_checklist(open_project(bench.folder)))
    found = read_checklist(file, today=date(2026, 11, 27)).questions
    assert set(found) == set(BY_ID)
    assert found["firmware"].evidence[0].says == "none"
    assert found["firmware"].evidence[0].image == f"localhost/demo@{bench.digest('6.1.0-10-amd64')}"
    assert not found["support-contact"].evidence
    assert not found["device-plugin"].evidence


def test_where_nothing_is_built_everything_is_asked(bench: Bench) -> None:
    text = draft_checklist(open_project(bench.folder))
    assert text.count(": {}\n") == len(BY_ID)
