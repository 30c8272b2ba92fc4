"""The locks of the Python packages against the ranges of pyproject.toml."""

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
    """Wanted by the distribution itself, not by what it wants."""

    @property
    def version(self) -> str:
        return next(iter(self.requirement.specifier)).version


def _pins(lock: str = "requirements.lock", own: str = "kmodsmith (pyproject.toml)") -> dict[str, _Pin]:
    text = (_ROOT / lock).read_text()
    pins = {}
    for block in re.findall(r"^[a-z0-9].*\n(?:[ ]+.*\n)*", text, re.MULTILINE):
        requirement = Requirement(block.partition("\\")[0])
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})\b", block))
        assert requirement.name not in pins, "one version for all Pythons and architectures"
        pins[requirement.name] = _Pin(requirement, hashes, own in block)
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


def _shipped(lock: str) -> dict[str, _Pin]:
    return _pins(f"operator/{lock}.lock", "kmod-operator (operator/pyproject.toml)")


@pytest.mark.parametrize(("lock", "extras"), [("requirements", ()), ("requirements-operator", ("operator",))])
def test_images_of_the_operator_get_what_its_ranges_say(lock: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((_ROOT / "operator" / "pyproject.toml").read_text())["project"]
    more = [text for extra in extras for text in project["optional-dependencies"][extra]]
    wanted = [Requirement(text) for text in (*project["dependencies"], *more)]
    pins = _shipped(lock)
    assert {name for name, pin in pins.items() if pin.is_ours} == {canonicalize_name(item.name) for item in wanted}
    assert all(item.specifier.contains(pins[canonicalize_name(item.name)].version) for item in wanted), _RENEW
    assert all(pin.hashes for pin in pins.values())


def test_a_device_plugins_image_has_nothing_that_only_the_operator_loads() -> None:
    small, large = _shipped("requirements"), _shipped("requirements-operator")
    assert small.items() <= large.items(), "one version for both: nox -s lock"
    assert set(large) - set(small) == {"cryptography", "cffi", "pycparser"}
