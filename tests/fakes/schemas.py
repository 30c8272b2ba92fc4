"""What clusters and other readers hold objects to."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import lark


class _LateParser:
    """A parser that is made when something is parsed.

    jsonschema's check of IRIs makes 39 of one grammar when it is imported, seconds of work, and uses one of them.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._arguments = arguments
        self._options = options
        self._made: lark.Lark | None = None

    def parse(self, *arguments: Any, **options: Any) -> Any:
        self._made = self._made or lark.Lark(*self._arguments, **self._options)
        return self._made.parse(*arguments, **options)


# Tests import them from here.
with patch.object(lark, "Lark", _LateParser):
    import jsonschema
    from cyclonedx.validation.json import JsonStrictValidator

__all__ = ["JsonStrictValidator", "SchemaViolation", "validate"]

SchemaViolation = jsonschema.ValidationError


def validate(data: dict[str, Any], schema: dict[str, Any]) -> None:
    """Hold data to a schema; that the schema is one is not looked at again each time."""
    jsonschema.Draft202012Validator(schema).validate(data)
