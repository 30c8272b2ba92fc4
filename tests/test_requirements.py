"""The lock of the Python packages against the ranges of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parent.parent
_RENEW = "requirements.lock does not fit pyproject.toml: nox -s lock"


@dataclass(frozen=True)
class _Pin:
    requirement: Requirement
    hashes: tuple[str, ...]
    is_ours: bool
    """Wanted by kmodsmith itself, not by what it wants."""

    @property
    def version(self) -> str:
        return next(iter(self.requirement.specifier)).version


def _pins() -> dict[str, _Pin]:
    text = (_ROOT / "requirements.lock").read_text()
    pins = {}
    for block in re.findall(r"^[a-z0-9].*\n(?:[ ]+.*\n)*", text, re.MULTILINE):
        requirement = Requirement(block.partition("\\")[0])
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})\b", block))
        assert requirement.name not in pins, "one version for all Pythons and architectures"
        pins[requirement.name] = _Pin(requirement, hashes, "kmodsmith (pyproject.toml)" in block)
    return pins


def _ranges() -> list[Requirement]:
    data = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    extras = data["project"]["optional-dependencies"].values()
    lists = (data["build-system"]["requires"], data["project"]["dependencies"], *extras)
    return [Requirement(text) for texts in lists for text in texts]


def test_every_range_has_its_version_in_the_lock() -> None:
    pins = _pins()
    for wanted in _ranges():
        pin = pins.get(canonicalize_name(wanted.name))
        assert pin is not None, f"{wanted}: {_RENEW}"
        assert wanted.specifier.contains(pin.version), f"{wanted}: {_RENEW}"
        if pin.requirement.marker is not None:
            assert wanted.marker is not None, f"{wanted} is locked for some machines only: {_RENEW}"


def test_the_lock_has_nothing_that_is_no_longer_wanted() -> None:
    wanted = {canonicalize_name(wanted.name) for wanted in _ranges()}
    assert {name for name, pin in _pins().items() if pin.is_ours} == wanted, _RENEW


def test_the_lock_is_complete_and_names_no_index() -> None:
    pins = _pins()
    text = (_ROOT / "requirements.lock").read_text()
    assert len(pins) > 50
    assert all(pin.hashes for pin in pins.values())
    assert all(str(pin.requirement.specifier).startswith("==") for pin in pins.values())
    assert "://" not in text
    assert not re.findall(r"^\s*-", re.sub(r"^ +--hash=.*$", "", text, flags=re.MULTILINE), re.MULTILINE), "no options"


@pytest.mark.parametrize("name", ["pydantic-core", "cryptography", "pyyaml", "ruff", "google-re2"])
def test_compiled_packages_are_locked_for_both_architectures(name: str) -> None:
    """Each file of a release has a hash: wheels of several Pythons on x86-64 and arm64 are many."""
    assert len(_pins()[name].hashes) > 10
