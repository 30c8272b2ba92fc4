"""The whole: what of it follows from several places."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from fakes.components import write_component
from fakes.versions_yaml import load

from builder.config.load import load_config
from builder.kernel import Arch

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_debian_source_lends_its_base_images(project_dir: Path) -> None:
    file = project_dir / "versions.yaml"
    ocp = "debian: {provider: debian}\n  ocp: {provider: openshift, channels: [fast-4.17]}"
    file.write_text(file.read_text().replace("debian: {provider: debian}", ocp))
    config = load_config(file, today=date(2026, 11, 23))
    assert config.runtime_of("ocp") == "debian"


def test_packages_are_wanted_where_they_are_built_and_where_they_run(project_dir: Path) -> None:
    write_component(
        project_dir, {"name": "b", "arches": ["aarch64"], "packages": ["b", "a"]},
        packages=["python3.11"], build_packages=["gcc"], arches=["x86_64", "aarch64"],
    )  # fmt: skip
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text().replace('["b", "a"]', '["zz", "aa"]'))
    assert load(project_dir).image_packages == {
        (Arch.X86_64, ("python3.11",)), (Arch.AARCH64, ("python3.11",)), (Arch.X86_64, ("gcc",)),
        (Arch.AARCH64, ("aa", "zz")),
    }  # fmt: skip
    write_component(project_dir)
    assert load(project_dir).image_packages == set()
