"""Signers: exactly one way to a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.project import VERSIONS_YAML
from fakes.versions_yaml import find_mistakes_in, with_line

from builder.config.model.signer import ImageSigner, KeyPlace, Signer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("place", "line", "expected"),
    [
        ("end", "signers: {s: {certificate: c.pem, pkcs11: 'pkcs11:token=t'}}", "it does not say which PKCS#11 library"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = find_mistakes_in(project_dir, with_line(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "default_group: few",
            "default_group: few\npublish: {signer: {public_key: k.pub}}",
            "give exactly one of key_file, pkcs11 and command, not none",
        ),
    ],
)
def test_names_the_place_and_the_remedy(project_dir: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, VERSIONS_YAML.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("kind", "settings", "way"),
    [
        (Signer, {"certificate": "c.pem", "key_file": "k"}, ("key_file", "k")),
        (Signer, {"certificate": "c.pem", "command": ("sh", "-c")}, ("command", ("sh", "-c"))),
        (ImageSigner, {"public_key": "k.pub", "key_file": "k"}, ("key_file", "k")),
    ],
)
def test_a_key_has_one_place(kind: type[KeyPlace], settings: dict[str, Any], way: tuple[str, Any]) -> None:
    assert kind(**settings).way == way
