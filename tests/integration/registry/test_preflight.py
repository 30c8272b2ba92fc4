"""What Red Hat's own openshift-preflight says of published images: the checks that certification rests on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from programs import find_go

from builder.host.locks import alone

if TYPE_CHECKING:
    from integration.registry.conftest import VendorSite
    from integration.vendor_base import VendorBase

pytestmark = pytest.mark.preflight

_VERSIONS = Path(__file__).parents[1] / "engines" / "preflight"
_PACKAGE = "github.com/redhat-openshift-ecosystem/openshift-preflight/cmd/preflight"
# It asks a server of Red Hat's whether it knows the base.
_ASKS_RED_HAT = "BasedOnUbi"
_WITH_RPMS = {"HasNoProhibitedPackages"}
_WITHOUT_RPMS = {
    "HasLicense", "HasUniqueTag", "LayerCountAcceptable", "HasRequiredLabel", "HasNoProhibitedLabels",
    "HasProhibitedContainerName", "HasModifiedFiles",
}  # fmt: skip


@pytest.fixture(scope="session")
def preflight() -> Path:
    """Build it once; it needs no network for an image of ours, but for the one question."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kmodsmith" / "test-engines"
    version = (_VERSIONS / "go.mod").read_text().split()[-1]
    program = cache / f"preflight-{version}" / "preflight"
    with alone(program.parent):
        if not program.is_file():
            sources = program.parent.with_name(f".preflight.{os.getpid()}")
            shutil.copytree(_VERSIONS, sources)
            environment = os.environ | {"GOFLAGS": "-mod=mod -trimpath", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
            argv = [find_go(), "build", "-gcflags=all=-N -l", "-o", "preflight", _PACKAGE]
            done = subprocess.run(argv, cwd=sources, env=environment, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            sources.rename(program.parent)
    return program


def _check(preflight: Path, site: VendorSite, folder: Path) -> dict[str, set[str]]:
    """Build and publish, and return names of checks by how they ended: passed, failed, errors."""
    image = site.publish()["names"][0]
    auth = site.ours.auth_file(folder)
    argv = [str(preflight), "check", "container", image, "--insecure", "--docker-config", str(auth)]
    argv += ["--artifacts", str(folder)]
    done = subprocess.run(argv, cwd=folder, check=False, capture_output=True, text=True)
    assert (folder / "amd64" / "results.json").is_file(), done.stderr
    results = json.loads((folder / "amd64" / "results.json").read_text())["results"]
    return {kind: {item["name"] for item in items or []} - {_ASKS_RED_HAT} for kind, items in results.items()}


def test_a_driver_on_a_base_with_rpms_passes_all_but_the_user(
    preflight: Path, vendor_site: VendorSite, vendor_base: VendorBase, tmp_path: Path
) -> None:
    """It runs as root, as KMM needs it: certification projects with host access leave that check out."""
    vendor_site.use(vendor_base, "drivers/certified", "2.0.0")
    found = _check(preflight, vendor_site, tmp_path)
    assert (found["failed"], found["errors"]) == ({"RunAsNonRoot"}, set())
    assert found["passed"] == _WITHOUT_RPMS | _WITH_RPMS


def test_without_an_rpm_database_only_a_scratch_project_can_be_passed(
    preflight: Path, vendor_site: VendorSite, tmp_path: Path
) -> None:
    vendor_site.use(None, "drivers/scratch", "2.0.1")
    found = _check(preflight, vendor_site, tmp_path)
    assert (found["failed"], found["errors"]) == ({"RunAsNonRoot"}, _WITH_RPMS)
    assert found["passed"] == _WITHOUT_RPMS


def test_a_name_that_is_not_ours_to_use_is_refused(
    preflight: Path, vendor_site: VendorSite, vendor_base: VendorBase, tmp_path: Path
) -> None:
    vendor_site.use(vendor_base, "drivers/red-hat-driver", "2.0.2")
    found = _check(preflight, vendor_site, tmp_path)
    assert found["failed"] == {"RunAsNonRoot", "HasProhibitedContainerName"}
