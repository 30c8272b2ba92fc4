"""A driver on a base image that a vendor names: two registries, the base in one of them, the driver's in the other."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.locks import debian_of

from builder.kernel import Arch
from builder.sources.debian.kernels import read_busybox
from builder.sources.debian.parts import DebianParts
from builder.sources.download import Downloads
from builder.sources.lock_file import read_lock
from integration.conftest import Machine, copy_project
from integration.registry_server import RegistryServer, serve_registry
from integration.vendor_base import VendorBase, make_vendor_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class VendorSite:
    """A project for one kernel, a registry with its base image, and one that its driver goes to."""

    def __init__(self, machine: Machine, project: Path, ours: RegistryServer, theirs: RegistryServer) -> None:
        self.machine = machine
        self.project = project
        self.ours = ours
        self.theirs = theirs

    @property
    def folder(self) -> Path:
        return self.project.parent

    @property
    def kernels(self) -> list[str]:
        kernels = read_lock(self.project / "versions.lock.yaml").kernel_versions("debian")
        return [kernel.raw for kernel in kernels if kernel.series == "6.12" and kernel.raw.endswith("cloud-amd64")]

    def use(self, base: VendorBase | None, repository: str, version: str) -> None:
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        image = f"{self.ours.host}/{repository}"
        settings["drivers"][0] |= {"version": version, "image": image}
        settings["drivers"][0]["base_image"] = base.pullspec if base else None
        hosts = [self.ours.host, self.theirs.host]
        files = [str(self.ours.auth_file(self.folder / "ours")), str(self.theirs.auth_file(self.folder / "theirs"))]
        settings["registry"] = {"plain_http": hosts, "auth_files": files}
        settings["publish"] = {"tags": ["version-kernel"]}
        settings["groups"]["one"] = {"source": "debian", "kernels": self.kernels[-1:]}
        settings["default_group"] = "one"
        file.write_text(yaml.safe_dump(settings))

    def take_kernels(self, number: int) -> None:
        """Build for so many kernels, those next to the newest."""
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["groups"]["one"]["kernels"] = self.kernels[-number:]
        file.write_text(yaml.safe_dump(settings))

    def run(self, *arguments: str, machine: Machine | None = None) -> tuple[int, dict[str, Any]]:
        return (machine or self.machine).tell(self.project, *arguments)

    def publish(self) -> dict[str, Any]:
        for verb in ("build", "publish"):
            code, results = self.run(verb)
            assert code == 0, results
        cell: dict[str, Any] = results["cells"][0]
        return cell

    def manifest(self, name: str) -> dict[str, Any]:
        auth = str(self.ours.auth_file(self.folder / "ours"))
        command = ["skopeo", "inspect", "--raw", "--tls-verify=false", "--authfile", auth, f"docker://{name}"]
        found: dict[str, Any] = json.loads(subprocess.check_output(command))
        return found


@pytest.fixture(scope="module")
def vendor_site(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VendorSite]:
    folder = tmp_path_factory.mktemp("base")
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    (folder / "ours").mkdir()
    (folder / "theirs").mkdir()
    with serve_registry(folder / "ours") as ours, serve_registry(folder / "theirs") as theirs:
        yield VendorSite(machine, project, ours, theirs)


@pytest.fixture(scope="module")
def busybox(vendor_site: VendorSite, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    locked = debian_of(read_lock(vendor_site.project / "versions.lock.yaml"))
    downloads = Downloads(tmp_path_factory.mktemp("packages"))
    try:
        return read_busybox(DebianParts(locked=locked, build_arch=Arch.X86_64), Arch.X86_64, downloads)
    finally:
        downloads.close()


@pytest.fixture(scope="module")
def vendor_base(vendor_site: VendorSite, busybox: bytes, tmp_path_factory: pytest.TempPathFactory) -> VendorBase:
    return make_vendor_base(vendor_site.theirs, tmp_path_factory.mktemp("vendor"), busybox)
