from __future__ import annotations

from typing import TYPE_CHECKING

from builder.plan.project import open_project
from builder.sources.provider import image_input

if TYPE_CHECKING:
    from pathlib import Path


def test_an_image_by_digest_is_an_input_that_others_can_fetch() -> None:
    found = image_input("driver-toolkit", f"quay.test:5000/org/dtk@sha256:{'a' * 64}")
    assert (found.name, found.uri, found.sha256) == ("driver-toolkit", f"docker://quay.test:5000/org/dtk@sha256:{'a' * 64}", "a" * 64)  # fmt: skip
    assert (found.version, found.purl) == ("", "")


def test_what_a_lock_names_by_digest_is_shared_by_all_projects(project_dir: Path) -> None:
    one, other = open_project(project_dir).workplace, open_project(project_dir, project_dir / "other").workplace
    assert one.work_dir != other.work_dir
    assert one.packages_dir == other.packages_dir == one.cache_dir / "packages"
    assert one.kernels_dir == other.kernels_dir == one.cache_dir / "boot"
