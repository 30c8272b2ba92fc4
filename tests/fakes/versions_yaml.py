"""Files versions.yaml with one thing more or less, and what is said of them."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from builder.config.load import load_config
from builder.errors import ConfigError
from fakes.components import write_component
from fakes.project import VERSIONS_YAML

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from builder.config.model.config import Config

TODAY = date(2026, 11, 23)


def load(project: Path, text: str | None = None, *, outside: Sequence[Path] = (), untrusted: bool = False) -> Config:
    """Read a project's file, or one with this text in its place."""
    file = project / "versions.yaml"
    if text is not None:
        file.write_text(text)
    return load_config(file, today=TODAY, outside=outside, untrusted=untrusted)


def find_mistakes(project: Path, *, untrusted: bool = False) -> list[str]:
    """Return what is wrong with a project's file, as ``place: sentence``."""
    with pytest.raises(ConfigError) as caught:
        load(project, untrusted=untrusted)
    return [f"{item.path}: {item.message}" for item in caught.value.mistakes]


def find_mistakes_in(project: Path, text: str) -> list[str]:
    """Return what is wrong with this text in its place, as ``line: place: sentence``."""
    with pytest.raises(ConfigError) as caught:
        load(project, text)
    return [f"{item.line}: {item.path}: {item.message}" for item in caught.value.mistakes]


def with_line(place: str, line: str) -> str:
    """Return a file with one more key: of the driver, of the Debian source, of one for OpenShift, or at the end."""
    old, new = {
        "driver": ("maintainer: M", f"maintainer: M\n    {line}"),
        "debian": ("debian: {provider: debian}", f"debian: {{provider: debian, {line}}}"),
        "ocp": ("debian: {provider: debian}", f"debian: {{provider: debian}}\n  ocp: {{provider: openshift, {line}}}"),
        "end": ("default_group: few", f"default_group: few\n{line}"),
    }[place]
    return VERSIONS_YAML.replace(old, new, 1)


_OPERATOR = {"component": "plugin", "group": "drivers.example.com", "documentation": "https://example.com/d"}


def write_operator(project: Path, said: Mapping[str, Any] | None = None, /, **changes: Any) -> None:
    """Add an operator, and the component that is its image, to a project's file."""
    write_component(project, **(said or {}))
    file = project / "versions.yaml"
    file.write_text(f"{file.read_text()}operator: {json.dumps({**_OPERATOR, **changes})}\n")


_PIN = f"quay.test/org/base@sha256:{'a' * 64}"
TEKTON = f"tekton:\n  builder: {_PIN}\n  repository: quay.test/org/plans\n  source: https://git.test/org/drivers.git\n"


def write_tekton(project: Path, text: str = "") -> None:
    """Add pipelines to a project's file, with more lines of theirs."""
    file = project / "versions.yaml"
    file.write_text(f"{file.read_text()}\n{TEKTON}{text}")
