"""The JSON schema and the reference page of versions.yaml, both made from its declaration. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from builder.writing import emit_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WRITE_COMMAND = "nox -s schema -- --write"
_IN_WORDS = {"Arch": "architecture", "Variant": "variant"}


def emit_schema(schema: Mapping[str, Any]) -> str:
    """Return the JSON schema (draft 2020-12) of versions.yaml; ``schema`` is that of ``described.describe_schema``."""
    return emit_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def emit_reference(schema: Mapping[str, Any]) -> str:
    """Return the reference page in Markdown; ``schema`` as in ``emit_schema``."""
    schema = _spell_out(schema, schema["$defs"])
    lines = [
        "# Reference of versions.yaml",
        "",
        f"Written by `{WRITE_COMMAND}`; change the declaration in `builder/config/model/` instead.",
        "Which of it is trusted, and what it may name, [security.md](security.md) tells.",
        "",
    ]
    lines += _section("The whole file", schema)
    for name, definition in sorted(schema["$defs"].items()):
        if "properties" in definition:
            lines += _section(name, definition)
    return "\n".join(lines)


def _spell_out(value: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a schema with the words of its enumerations where they are named: they have no section of their own."""
    if isinstance(value, list):
        return [_spell_out(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    name = str(value.get("$ref", "")).rpartition("/")[2]
    if name not in _IN_WORDS and "enum" in definitions.get(name, {}):
        rest = {key: item for key, item in value.items() if key != "$ref"}
        return {**rest, "enum": definitions[name]["enum"]}
    return {key: _spell_out(item, definitions) for key, item in value.items()}


def _section(title: str, definition: Mapping[str, Any]) -> list[str]:
    required = set(definition.get("required", ()))
    lines = [
        f"## {title}",
        "",
        definition.get("description", ""),
        "",
        "| key | value | default | meaning |",
        "|---|---|---|---|",
    ]
    for key, value in definition["properties"].items():
        default = "**required**" if key in required else _default(value)
        meaning = " ".join(str(value.get("description", "")).split())
        lines.append(f"| `{key}` | {_describe(value)} | {_cell(default)} | {_cell(meaning)} |")
    return [*lines, ""]


def _default(value: dict[str, Any]) -> str:
    """Return a default; that of a section is written down where the section is."""
    return "" if "$ref" in value else f"`{json.dumps(value.get('default'))}`"


def _describe(value: dict[str, Any]) -> str:
    """Say in a few words what a value may be."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return _IN_WORDS.get(name, f"[{name}](#{name.lower()})")
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{item}`" for item in value["enum"])
    if "anyOf" in value or "oneOf" in value:
        choices = value.get("anyOf", []) + value.get("oneOf", [])
        return " or ".join(dict.fromkeys(_describe(item) for item in choices if item.get("type") != "null"))
    kind = value.get("type")
    if kind == "array":
        return f"list of {_describe(value['items'])}"
    if kind == "object":
        return f"mapping to {_describe(next(_values(value)))}"
    text = {"string": "text", "integer": "number", "boolean": "true or false"}.get(str(kind), str(kind))
    return "date" if value.get("format") == "date" else text


def _values(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if isinstance(value.get("additionalProperties"), dict):
        yield value["additionalProperties"]
    yield from value.get("patternProperties", {}).values()
    yield {"type": "string"}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
