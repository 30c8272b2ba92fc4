"""Counts, JSON and YAML as kmodsmith writes them: for people to read, and for every parser to read alike. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as _quote
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What Kubernetes' decoder (YAML 1.1 with Go's numbers) reads as something else than text, and PyYAML would not quote.
# Its octal numbers begin with 0 and may have an 8: 08 is a number there, 8.
_NOT_TEXT_IN_GO = re.compile(r"[yYnN]|0o[0-7]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def count(number: int, thing: str) -> str:
    """Return a number of things in words: ``1 cell``, ``2 cells``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def about(seconds: float) -> str:
    """Return a time that is not known to the second: ``about 40 s``, ``about 12 min``, ``about 3 h 20 min``."""
    if seconds < 90:  # noqa: PLR2004 - of a minute and a half, seconds are still told
        return f"about {max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 90 else f"about {minutes // 60} h {minutes % 60:02d} min"  # noqa: PLR2004


def emit_json(data: object) -> str:
    """Return a document that ends with its line."""
    return "".join(emit_json_parts(data))


def emit_json_parts(data: object) -> Iterator[str]:
    """Yield a document in parts, one for each item of its lists: one of 100,000 cells need not be whole in memory.

    Byte for byte ``json.dumps(data, indent=2)``, whose encoder with an indent is written in Python: it took half of
    the time of a large plan. An iterator is written as a list.
    """
    if isinstance(data, dict) and data:
        before = "{\n  "
        for key, value in data.items():
            yield f"{before}{_name(key)}: "
            if isinstance(value, list | tuple | Iterator):
                yield from _list_parts(value)
            else:
                yield _indented(value, "\n  ")
            before = ",\n  "
        yield "\n}\n"
    else:
        yield _indented(data, "\n") + "\n"


def _list_parts(items: Iterable[object]) -> Iterator[str]:
    before = "[\n    "
    for item in items:
        yield before + _indented(item, "\n    ")
        before = ",\n    "
    yield "[]" if before.startswith("[") else "\n  ]"


def _indented(value: Any, line: str) -> str:
    """Return a value whose further lines begin with ``line``."""
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, dict) and value:
        inner = f"{line}  "
        parts = [
            f"{_quote(key) if isinstance(key, str) else _name(key)}: "
            f"{_quote(item) if isinstance(item, str) else _indented(item, inner)}"
            for key, item in value.items()
        ]
        return f"{{{inner}{f',{inner}'.join(parts)}{line}}}"
    if isinstance(value, list | tuple) and value:
        inner = f"{line}  "
        return f"[{inner}{f',{inner}'.join([_indented(item, inner) for item in value])}{line}]"
    return json.dumps(value)


def _name(key: Any) -> str:
    """Return the name of a pair; numbers and the like become text as ``json.dumps`` has it."""
    return json.dumps({key: 0})[1:-4]


def emit_yaml(*objects: Mapping[str, Any]) -> str:
    """Return documents in the order of their keys: texts of several lines as blocks, ambiguous ones quoted."""
    return yaml.dump_all([dict(item) for item in objects], Dumper=_Dumper, sort_keys=False, width=200)


class _Dumper(yaml.SafeDumper):
    """Writes texts as every reader takes them for texts, and what stands in two places twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - its signature
        """Have no anchors and aliases: readers that bound what they read refuse them."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else "'" if _NOT_TEXT_IN_GO.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
