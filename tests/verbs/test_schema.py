"""The verb schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from builder.__main__ import run_cli
from builder.certify.checklist import emit_checklist_schema
from builder.config.described import describe_schema
from builder.emit.reference import emit_reference, emit_schema

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_schema_is_printed_or_written_with_its_page(project_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["--project", str(project_dir), "schema"]) == 0
    assert "$defs" in json.loads(capsys.readouterr().out)
    assert run_cli(["--project", str(project_dir), "schema", "--checklist"]) == 0
    assert capsys.readouterr().out == emit_checklist_schema()
    (project_dir / "docs").mkdir()
    assert run_cli(["--project", str(project_dir), "schema", "--write"]) == 0
    assert (project_dir / "versions.schema.json").read_text() == emit_schema(describe_schema())
    assert (project_dir / "checklist.schema.json").read_text() == emit_checklist_schema()
    assert (project_dir / "docs" / "versions-yaml.md").read_text() == emit_reference(describe_schema())
