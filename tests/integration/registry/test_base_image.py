"""Drivers on a base image that a vendor names: what stays the base's, what nodes pull, and what certification asks."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from integration.vendor_base import VendorBase, make_vendor_base, put_in_list

if TYPE_CHECKING:
    from pathlib import Path

    from integration.registry.conftest import VendorSite
    from integration.registry_server import RegistryServer

pytestmark = [pytest.mark.buildah, pytest.mark.archive]


def test_layers_of_the_base_stay_its_blobs_and_one_digest_stands_for_the_image(
    vendor_site: VendorSite, vendor_base: VendorBase
) -> None:
    vendor_site.use(vendor_base, "drivers/other-registry", "1.9.0")
    code, built = vendor_site.run("build")
    assert (code, built["counts"]) == (0, {"built": 1}), built
    cell = vendor_site.publish()
    assert cell["digest"] == built["cells"][0]["digest"], "what the build said is what the registry has"
    layers = vendor_site.manifest(cell["names"][0])["layers"]
    assert {layer["digest"]: layer["size"] for layer in layers[:2]} == vendor_base.layers
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert len(layers) > len(vendor_base.layers)
    assert cell["blobs_sent"] == len(layers) + 1


def test_nodes_that_have_the_base_pull_nothing_of_it(
    vendor_site: VendorSite, vendor_base: VendorBase, tmp_path: Path
) -> None:
    name = vendor_site.run("publish")[1]["cells"][0]["names"][0]
    log = vendor_site.folder / "ours" / "log"
    auths = [str(server.auth_file(tmp_path / kind)) for kind, server in _servers(vendor_site, tmp_path)]
    blobs = tmp_path / "blobs"  # what a node keeps of all images, by digest

    def pull(image: str, auth: str, to: str) -> None:
        command = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--authfile", auth]
        command += ["--dest-shared-blob-dir", str(blobs), f"docker://{image}", f"oci:{tmp_path / to}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    pull(vendor_base.pullspec, auths[1], "base")
    before = len(log.read_text())
    pull(name, auths[0], "driver")
    asked = set(re.findall(r'"GET /v2/\S+/blobs/(sha256:[0-9a-f]{64}) HTTP', log.read_text()[before:]))
    own = {layer["digest"] for layer in vendor_site.manifest(name)["layers"]} - vendor_base.layers.keys()
    assert asked & vendor_base.layers.keys() == set()
    assert own <= asked


def _servers(vendor_site: VendorSite, folder: Path) -> list[tuple[str, RegistryServer]]:
    for kind in ("ours", "theirs"):
        (folder / kind).mkdir()
    return [("ours", vendor_site.ours), ("theirs", vendor_site.theirs)]


def test_another_machine_gets_the_same_digest(vendor_site: VendorSite, vendor_base: VendorBase, tmp_path: Path) -> None:
    vendor_site.use(vendor_base, "drivers/other-registry", "1.9.0")
    storage = tmp_path / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n')
    fresh = vendor_site.machine.with_environment(
        {"CONTAINERS_STORAGE_CONF": str(storage), "KMODSMITH_WORK_DIR": str(tmp_path / "work")}
    )
    code, built = vendor_site.run("build", machine=fresh)
    assert (code, built["counts"]) == (0, {"built": 1}), built
    assert built["cells"][0]["digest"] == vendor_site.run("build")[1]["cells"][0]["digest"]


def test_a_base_in_the_same_registry_is_mounted(
    vendor_site: VendorSite, busybox: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    near = make_vendor_base(vendor_site.ours, tmp_path_factory.mktemp("near"), busybox)
    vendor_site.use(near, "drivers/same-registry", "1.9.1")
    cell = vendor_site.publish()
    log = (vendor_site.folder / "ours" / "log").read_text()
    mounted = set(re.findall(r'"POST /v2/drivers/same-registry/blobs/uploads/\?\S*mount=sha256%3A([0-9a-f]{64})\S* HTTP/1.1" 201', log))  # fmt: skip
    assert {f"sha256:{digest}" for digest in mounted} == near.layers.keys()
    assert cell["blobs_sent"] == len(vendor_site.manifest(cell["names"][0])["layers"]) + 1 - len(near.layers)


def test_a_base_may_be_named_by_the_list_of_all_architectures(vendor_site: VendorSite, vendor_base: VendorBase) -> None:
    """That is the digest that people copy from a catalogue."""
    listed = put_in_list(vendor_site.theirs, vendor_base)
    assert listed.pullspec != vendor_base.pullspec
    vendor_site.use(listed, "drivers/on-a-list", "1.9.4")
    layers = vendor_site.manifest(vendor_site.publish()["names"][0])["layers"]
    assert {layer["digest"]: layer["size"] for layer in layers[:2]} == vendor_base.layers


def test_an_image_on_such_a_base_keeps_what_certification_asks(
    vendor_site: VendorSite, vendor_base: VendorBase
) -> None:
    """Labels of the base are ours now, and its packages are known by its own database."""
    vendor_site.use(vendor_base, "drivers/other-registry", "1.9.0")
    name = vendor_site.run("publish")[1]["cells"][0]["names"][0]
    done = vendor_site.machine.builder(vendor_site.project, "fit", name, "--json")
    assert (done.returncode, json.loads(done.stdout)["findings"]) == (0, []), done.stdout
    told = json.loads(vendor_site.machine.buildah("inspect", "--type", "image", name))["OCIv1"]["config"]["Labels"]
    assert told["vendor"] != "Red Hat, Inc."
    assert told["name"] == "ptemplate"


def test_a_base_with_a_kernel_in_its_packages_is_refused(
    vendor_site: VendorSite, busybox: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bad")
    bad = make_vendor_base(vendor_site.theirs, folder, busybox, name="bad/base", packages=("kernel-core",))
    vendor_site.use(bad, "drivers/bad", "1.9.2")
    code, built = vendor_site.run("build")
    assert (code, built["cells"][0]["failure"]["code"]) == (13, "prohibited-package"), built


def test_a_base_that_is_gone_is_said_to_be(vendor_site: VendorSite, vendor_base: VendorBase) -> None:
    gone = VendorBase(f"{vendor_site.theirs.host}/ubi9/ubi-micro@sha256:{'0' * 64}", vendor_base.layers)
    vendor_site.use(gone, "drivers/gone", "1.9.3")
    code, built = vendor_site.run("build")
    failure = built["cells"][0]["failure"]
    assert code == 10, built
    assert "sha256:0000" in failure["detail"]
