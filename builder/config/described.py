"""The JSON schema of versions.yaml with what the declaration says of each key, read out of its source.

pydantic could keep these words itself, and would read the whole source for each of its 60 classes whenever a program
starts: a fifth of the time that a build takes that has nothing to do.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from builder.config.model.config import Config
from builder.config.model.declaration import Declaration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core.core_schema import ModelSchema


def describe_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of versions.yaml; a key is described by the text below it."""
    return Config.model_json_schema(schema_generator=_Described)


class _Described(GenerateJsonSchema):
    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Return the schema of one class, with the words of those that it is made from where it has none of its own."""
        made = super().model_schema(schema)
        for kind in reversed(schema["cls"].__mro__):
            if issubclass(kind, Declaration):
                _describe(made["properties"], dict(_words_below(kind)))
        return made


def _describe(properties: dict[str, Any], words: dict[str, str]) -> None:
    for key in words.keys() & properties.keys():
        properties[key] = dict(sorted({**properties[key], "description": words[key]}.items()))


def _words_below(kind: type[Declaration]) -> Iterator[tuple[str, str]]:
    body = [statement for node in ast.parse(inspect.getsource(kind)).body for statement in getattr(node, "body", ())]
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match text:
                case ast.Expr(value=ast.Constant(value=str(words))):
                    yield field.target.id, inspect.cleandoc(words)
