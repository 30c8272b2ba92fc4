"""Drivers on a base image that a vendor names: what stays the base's, what nodes pull, and what certification asks."""

from __future__ import annotations

import json
import re
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

pytestmark = [pytest.mark.buildah, pytest.mark.archive]


class _Site:
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
    def kernel(self) -> str:
        kernels = read_lock(self.project / "versions.lock.yaml").kernel_versions("debian")
        return [kernel.raw for kernel in kernels if kernel.series == "6.12" and kernel.raw.endswith("cloud-amd64")][-1]

    def use(self, base: VendorBase, repository: str, version: str) -> None:
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        image = f"{self.ours.host}/{repository}"
        settings["drivers"][0] |= {"version": version, "image": image, "base_image": base.pullspec}
        hosts = [self.ours.host, self.theirs.host]
        files = [str(self.ours.auth_file(self.folder / "ours")), str(self.theirs.auth_file(self.folder / "theirs"))]
        settings["registry"] = {"plain_http": hosts, "auth_files": files}
        settings["publish"] = {"tags": ["version-kernel"]}
        settings["groups"]["one"] = {"source": "debian", "kernels": [self.kernel]}
        settings["default_group"] = "one"
        file.write_text(yaml.safe_dump(settings))

    def run(self, *arguments: str, machine: Machine | None = None) -> tuple[int, dict[str, Any]]:
        done = (machine or self.machine).builder(self.project, *arguments, "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

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
def site(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Site]:
    folder = tmp_path_factory.mktemp("base")
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    (folder / "ours").mkdir()
    (folder / "theirs").mkdir()
    with serve_registry(folder / "ours") as ours, serve_registry(folder / "theirs") as theirs:
        yield _Site(machine, project, ours, theirs)


@pytest.fixture(scope="module")
def busybox(site: _Site, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    locked = debian_of(read_lock(site.project / "versions.lock.yaml"))
    downloads = Downloads(tmp_path_factory.mktemp("packages"))
    try:
        return read_busybox(DebianParts(locked=locked, build_arch=Arch.X86_64), Arch.X86_64, downloads)
    finally:
        downloads.close()


@pytest.fixture(scope="module")
def base(site: _Site, busybox: bytes, tmp_path_factory: pytest.TempPathFactory) -> VendorBase:
    return make_vendor_base(site.theirs, tmp_path_factory.mktemp("vendor"), busybox)


def test_layers_of_the_base_stay_its_blobs_and_one_digest_stands_for_the_image(site: _Site, base: VendorBase) -> None:
    site.use(base, "drivers/other-registry", "1.9.0")
    code, built = site.run("build")
    assert (code, built["counts"]) == (0, {"built": 1}), built
    cell = site.publish()
    assert cell["digest"] == built["cells"][0]["digest"], "what the build said is what the registry has"
    layers = site.manifest(cell["names"][0])["layers"]
    assert {layer["digest"]: layer["size"] for layer in layers[:2]} == base.layers
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert len(layers) > len(base.layers)
    assert cell["blobs_sent"] == len(layers) + 1


def test_nodes_that_have_the_base_pull_nothing_of_it(site: _Site, base: VendorBase, tmp_path: Path) -> None:
    name = site.run("publish")[1]["cells"][0]["names"][0]
    log = site.folder / "ours" / "log"
    auths = [str(server.auth_file(tmp_path / kind)) for kind, server in _servers(site, tmp_path)]
    blobs = tmp_path / "blobs"  # what a node keeps of all images, by digest

    def pull(image: str, auth: str, to: str) -> None:
        command = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--authfile", auth]
        command += ["--dest-shared-blob-dir", str(blobs), f"docker://{image}", f"oci:{tmp_path / to}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    pull(base.pullspec, auths[1], "base")
    before = len(log.read_text())
    pull(name, auths[0], "driver")
    asked = set(re.findall(r'"GET /v2/\S+/blobs/(sha256:[0-9a-f]{64}) HTTP', log.read_text()[before:]))
    own = {layer["digest"] for layer in site.manifest(name)["layers"]} - base.layers.keys()
    assert asked & base.layers.keys() == set()
    assert own <= asked


def _servers(site: _Site, folder: Path) -> list[tuple[str, RegistryServer]]:
    for kind in ("ours", "theirs"):
        (folder / kind).mkdir()
    return [("ours", site.ours), ("theirs", site.theirs)]


def test_another_machine_gets_the_same_digest(site: _Site, base: VendorBase, tmp_path: Path) -> None:
    site.use(base, "drivers/other-registry", "1.9.0")
    storage = tmp_path / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n')
    fresh = site.machine.with_environment(
        {"CONTAINERS_STORAGE_CONF": str(storage), "KMODSMITH_WORK_DIR": str(tmp_path / "work")}
    )
    code, built = site.run("build", machine=fresh)
    assert (code, built["counts"]) == (0, {"built": 1}), built
    assert built["cells"][0]["digest"] == site.run("build")[1]["cells"][0]["digest"]


def test_a_base_in_the_same_registry_is_mounted(
    site: _Site, busybox: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    near = make_vendor_base(site.ours, tmp_path_factory.mktemp("near"), busybox)
    site.use(near, "drivers/same-registry", "1.9.1")
    cell = site.publish()
    log = (site.folder / "ours" / "log").read_text()
    mounted = set(re.findall(r'"POST /v2/drivers/same-registry/blobs/uploads/\?\S*mount=sha256%3A([0-9a-f]{64})\S* HTTP/1.1" 201', log))  # fmt: skip
    assert {f"sha256:{digest}" for digest in mounted} == near.layers.keys()
    assert cell["blobs_sent"] == len(site.manifest(cell["names"][0])["layers"]) + 1 - len(near.layers)


def test_an_image_on_such_a_base_keeps_what_certification_asks(site: _Site, base: VendorBase) -> None:
    """Labels of the base are ours now, and its packages are known by its own database."""
    site.use(base, "drivers/other-registry", "1.9.0")
    name = site.run("publish")[1]["cells"][0]["names"][0]
    done = site.machine.builder(site.project, "fit", name, "--json")
    assert (done.returncode, json.loads(done.stdout)["findings"]) == (0, []), done.stdout
    told = json.loads(site.machine.buildah("inspect", "--type", "image", name))["OCIv1"]["config"]["Labels"]
    assert told["vendor"] != "Red Hat, Inc."
    assert told["name"] == "ptemplate"


def test_a_base_with_a_kernel_in_its_packages_is_refused(
    site: _Site, busybox: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bad")
    bad = make_vendor_base(site.theirs, folder, busybox, name="bad/base", packages=("kernel-core",))
    site.use(bad, "drivers/bad", "1.9.2")
    code, built = site.run("build")
    assert (code, built["cells"][0]["failure"]["code"]) == (13, "prohibited-package"), built


def test_a_base_that_is_gone_is_said_to_be(site: _Site, base: VendorBase) -> None:
    gone = VendorBase(f"{site.theirs.host}/ubi9/ubi-micro@sha256:{'0' * 64}", base.layers)
    site.use(gone, "drivers/gone", "1.9.3")
    code, built = site.run("build")
    failure = built["cells"][0]["failure"]
    assert code == 10, built
    assert "sha256:0000" in failure["detail"]
