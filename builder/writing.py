"""Counts, JSON and YAML as kmodsmith writes them: for people to read, and for every parser to read alike. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    return json.dumps(data, indent=2) + "\n"


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
