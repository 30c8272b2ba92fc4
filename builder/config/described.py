"""The JSON schema of versions.yaml with what the declaration says of each key, read out of its source.

pydantic could keep these words itself, and would read the whole source for each of its 60 classes whenever a program
starts: a fifth of the time that a build takes that has nothing to do.
"""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from builder.config import model

if TYPE_CHECKING:
    from collections.abc import Iterator


def describe_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of versions.yaml; a key is described by the text below it."""
    schema = model.Config.model_json_schema()
    words = {name: dict(_words_below(node)) for name, node in _classes().items()}
    for name, definition in [*schema["$defs"].items(), ("Config", schema)]:
        found = getattr(model, name, None)
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            continue
        for base in reversed(found.__mro__):
            _describe(definition["properties"], words.get(base.__name__, {}))
    return schema


def _describe(properties: dict[str, Any], words: dict[str, str]) -> None:
    for key in words.keys() & properties.keys():
        properties[key] = dict(sorted({**properties[key], "description": words[key]}.items()))


def _classes() -> dict[str, ast.ClassDef]:
    tree = ast.parse(inspect.getsource(model))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _words_below(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match text:
                case ast.Expr(value=ast.Constant(value=str(words))):
                    yield field.target.id, inspect.cleandoc(words)
