from __future__ import annotations

import json
from pathlib import Path

from builder.emit.reference import WRITE_COMMAND, emit_reference, emit_schema

_ROOT = Path(__file__).parents[2]


def test_committed_schema_is_fresh() -> None:
    assert (_ROOT / "versions.schema.json").read_text() == emit_schema(), f"run: {WRITE_COMMAND}"


def test_committed_reference_is_fresh() -> None:
    assert (_ROOT / "docs" / "versions-yaml.md").read_text() == emit_reference(), f"run: {WRITE_COMMAND}"


def test_every_key_is_explained() -> None:
    for definition in json.loads(emit_schema())["$defs"].values():
        for key, value in definition.get("properties", {}).items():
            assert value.get("description"), key
