"""What follows from settings; which ones are taken and which refused, tests/config/test_load.py says."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from builder.config.load import load_config
from builder.config.model import BuildSettings, ImageSigner, KeyPlace, RegistrySettings, Signer

if TYPE_CHECKING:
    from pathlib import Path


def test_limits_are_those_of_the_file_unless_it_may_have_no_more() -> None:
    wished = BuildSettings(compile_memory=9000, compile_processes=100)
    assert (wished.limits().memory_bytes, wished.limits().processes) == (9000 * 2**20, 100)
    default = BuildSettings()
    bounded = wished.limits(most=default)
    assert (bounded.memory_bytes, bounded.processes) == (default.compile_memory * 2**20, 100)


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


def test_secrets_of_registries_are_forgotten_where_nobody_is_trusted() -> None:
    known = RegistrySettings(auth_files=("a.json",))
    assert (known.is_anonymous, known.forget_secrets().is_anonymous) == (False, True)


def test_the_first_debian_source_lends_its_base_images(project_dir: Path) -> None:
    file = project_dir / "versions.yaml"
    ocp = "debian: {provider: debian}\n  ocp: {provider: openshift, channels: [fast-4.17]}"
    file.write_text(file.read_text().replace("debian: {provider: debian}", ocp))
    config = load_config(file, today=date(2026, 11, 23))
    assert config.runtime_of("ocp") == "debian"
