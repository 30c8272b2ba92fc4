"""The templates and files of pages, as they lie beside this module: read once, and all that is put in is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from builder.site.words import FILTERS

_HERE = Path(__file__).parent
ASSETS = ("site.css", "site.js")


def open_templates() -> Environment:
    """Return what renders templates; a name that nobody gave is an error."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= FILTERS
    return environment


def read_assets() -> dict[str, str]:
    """Return the style and the script of all pages by name."""
    return {name: (_HERE / "assets" / name).read_text() for name in ASSETS}
