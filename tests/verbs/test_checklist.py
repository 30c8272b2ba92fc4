"""The verb checklist."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench


def test_from_a_first_checklist_to_a_page(bench: Bench, tmp_path: Path) -> None:
    bench.build("--kernel", "6.1.0-10-amd64")
    code, _, err = bench.run("checklist")
    assert (code, "checklist --write makes a first one" in err) == (2, True)
    code, out, _ = bench.run("checklist", "--write", "--json")
    data = json.loads(out)
    assert (code, 0 < data["open"] < len(data["questions"])) == (22, True)
    assert bench.run("checklist", "--write")[0] == 2
    code, out, err = bench.run("checklist", "--statement", str(tmp_path / "page"))
    assert (code, "21 questions:" in out, "support.html" in err) == (22, True, True)
    assert "Not answered." in (tmp_path / "page" / "support.md").read_text()


def test_all_answered(bench: Bench) -> None:
    bench.run("checklist", "--write")
    file = bench.folder / "checklist.yaml"
    file.write_text(file.read_text().replace(": {}\n", ": {answer: x, by: Jo, on: 2026-01-01, valid_days: 3650}\n"))
    code, out, _ = bench.run("checklist")
    assert (code, "21 attested" in out) == (0, True)


def test_mistakes_name_file_and_place(bench: Bench) -> None:
    (bench.folder / "checklist.yaml").write_text("questions:\n  firmware: {by: 5}\n")
    code, _, err = bench.run("checklist")
    assert (code, "checklist.yaml:2:18: at questions.firmware.by" in err) == (3, True)
