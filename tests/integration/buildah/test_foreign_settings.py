"""A machine with settings of Docker's and podman's own: they are neither in the way nor changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from builder.sources.lock_file import read_lock
from integration.conftest import open_machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_SETTINGS = {
    ".docker/config.json": json.dumps(
        {
            "credsStore": "desktop",
            "credHelpers": {"registry.test": "helper-that-is-not-there"},
            "auths": {"https://index.docker.io/v1/": {}},
        }
    ),
    # As on hosts that let only signed images of some registries run.
    ".config/containers/policy.json": '{"default": [{"type": "reject"}]}',
    ".config/containers/registries.conf": 'short-name-mode = "enforcing"\nunqualified-search-registries = ["a.test", "b.test"]\n',
    ".config/containers/containers.conf": "[containers]\nno_hosts = true\n"
    '[engine]\nruntime = "runtime-that-is-not-there"\ncgroup_manager = "systemd"\nevents_logger = "journald"\n',
}
_VARIABLES = {
    "BUILDAH_ISOLATION": "oci",
    "BUILDAH_FORMAT": "docker",
    "BUILDAH_RUNTIME": "runtime-that-is-not-there",
    "BUILDAH_LAYERS": "true",
    "REGISTRY_AUTH_FILE": "/nowhere/auth.json",
    "DOCKER_CONFIG": "/nowhere",
}


def test_settings_of_other_programs_are_not_in_the_way(project: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name, text in _SETTINGS.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    kernel = next(
        kernel.raw
        for kernel in read_lock(project / "versions.lock.yaml").kernel_versions("debian")
        if kernel.raw.endswith("cloud-amd64")
    )
    # A store of its own, so that the toolkit is made under these settings, too.
    (tmp_path / "store").mkdir()
    with open_machine(tmp_path / "store") as fresh:
        there = fresh.with_environment({"HOME": str(home), "XDG_CACHE_HOME": cache, **_VARIABLES})
        code, report = there.build(project, "--group", "debian", "--kernel", kernel)
        assert (code, [cell["status"] for cell in report["cells"]]) == (0, ["built"]), report["failures"]
    written = {str(file.relative_to(home)): file.read_text() for file in home.rglob("*") if file.is_file()}
    assert written == _SETTINGS
