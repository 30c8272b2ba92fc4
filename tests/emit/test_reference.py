from __future__ import annotations

import json
import re
from pathlib import Path

from builder.config.described import describe_schema
from builder.emit.reference import WRITE_COMMAND, emit_reference, emit_schema

_ROOT = Path(__file__).parents[2]


def test_committed_schema_is_fresh() -> None:
    assert (_ROOT / "versions.schema.json").read_text() == emit_schema(describe_schema()), f"run: {WRITE_COMMAND}"


def test_committed_reference_is_fresh() -> None:
    assert (_ROOT / "docs" / "versions-yaml.md").read_text() == emit_reference(describe_schema()), (
        f"run: {WRITE_COMMAND}"
    )


def test_every_key_is_explained() -> None:
    for definition in json.loads(emit_schema(describe_schema()))["$defs"].values():
        for key, value in definition.get("properties", {}).items():
            assert value.get("description"), key


def test_every_link_of_the_reference_has_its_section() -> None:
    page = emit_reference(describe_schema())
    linked = set(re.findall(r"\]\(#([a-z]+)\)", page))
    assert linked <= {title.lower() for title in re.findall(r"^## (\w+)$", page, re.MULTILINE)}
    assert "list of `ga` or `candidate` or `hotfix`" in page
