"""What clusters hold objects to."""

from __future__ import annotations

from typing import Any


def validate(data: dict[str, Any], schema: dict[str, Any]) -> None:
    """Hold data to a schema; that the schema is one is not looked at again each time."""
    import jsonschema  # its formats take two seconds, which every collection would wait for

    jsonschema.Draft202012Validator(schema).validate(data)
