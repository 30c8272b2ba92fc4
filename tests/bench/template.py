"""What measurements take of the repository's own versions.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path


def read_settings(file: Path) -> dict[str, Any]:
    """Return a versions.yaml without its component images: their sources are not copied, and no measurement is of them."""
    data: dict[str, Any] = yaml.safe_load(file.read_text())
    for key in ("components", "operator"):
        data.pop(key, None)
    return data
