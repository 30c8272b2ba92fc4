"""What a shell completes beside verbs and options: names that versions.yaml has. Silent where that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.config.yamlfile import read_yaml
from builder.errors import ConfigError

if TYPE_CHECKING:
    import click


def complete_groups(context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    groups = _read(context).get("groups")
    return [str(name) for name in (groups if isinstance(groups, dict) else ()) if str(name).startswith(incomplete)]


def complete_drivers(context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    drivers = _read(context).get("drivers")
    entries = [entry for entry in (drivers if isinstance(drivers, list) else ()) if isinstance(entry, dict)]
    names = [str(entry["name"]) for entry in entries if "name" in entry]
    return [name for name in names if name.startswith(incomplete)]


def _read(context: click.Context) -> dict[Any, Any]:
    """Return versions.yaml as it is, unchecked: a word that is completed is checked when it is used."""
    folder = context.find_root().params.get("folder") or Path()
    try:
        data = read_yaml(Path(folder) / "versions.yaml").data
    except ConfigError:
        return {}
    return data if isinstance(data, dict) else {}
