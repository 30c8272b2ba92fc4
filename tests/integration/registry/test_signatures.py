"""Signatures and attestations, judged by other people's engines: containers/image, cosign, and a registry with referrers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from kmod_operator.index.reading import read_index
from kmod_operator.index.registry import fetch_index
from programs import need

from integration.conftest import Machine, copy_project
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.engines import Engines

pytest_plugins = ["integration.engines"]
pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_KINDS = ("slsaprovenance1", "cyclonedx", "https://in-toto.io/attestation/test-result/v0.1")
_WITHOUT = ("--without", "boot", "--without", "module-signature")


@dataclass
class _Site:
    """A project for one kernel of two architectures, and the registry that it is published to."""

    machine: Machine
    server: RegistryServer
    data: Path
    project: Path
    repository: str = "drivers/signed"
    key: str = "release"

    @property
    def image(self) -> str:
        return f"{self.server.host}/{self.repository}"

    def set_up(self, *, signer: dict[str, Any] | None, version: str = "1.9.0") -> None:
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["drivers"][0] |= {"version": version, "image": self.image}
        settings["registry"] = {
            "plain_http": [self.server.host],
            "auth_files": [str(self.server.auth_file(self.project))],
        }
        settings["publish"] = {"tags": ["version-kernel", "{version}-{kernel_noarch}"]}
        if signer:
            settings["publish"]["signer"] = signer
        settings["groups"]["both"] = {"source": "debian", "kernels": self.kernels}
        settings["default_group"] = "both"
        file.write_text(yaml.safe_dump(settings))

    def edit_secret(self, secret: str) -> None:
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["registry"]["auth_files"] = [str(self.server.auth_file(self.project, secret))]
        file.write_text(yaml.safe_dump(settings))

    @property
    def kernels(self) -> list[str]:
        lock = yaml.safe_load((self.project / "versions.lock.yaml").read_text())
        known = lock["sources"]["debian"]["kernels"]
        newest = next(
            name for name in sorted(known, reverse=True) if name.startswith("6.12.") and "-cloud-amd64" in name
        )
        assert newest.replace("amd64", "arm64") in known
        return [newest, newest.replace("amd64", "arm64")]

    def signer(self, name: str = "release") -> dict[str, str]:
        """Make a key as cosign does it (P-256), outside of the project."""
        folder = self.project.parent / "keys"
        folder.mkdir(exist_ok=True)
        private, public = folder / f"{name}.pem", folder / f"{name}.pub"
        if not private.exists():
            _run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(private))
            private.chmod(0o600)
            _run("openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public))
        return {"public_key": str(public), "key_file": str(private)}

    def run(self, *arguments: str) -> tuple[int, Any]:
        """Run a verb; keys change all the time here, and an index of another key is replaced only where one says so."""
        takes_over = ("--force", "ptemplate/index", "--reason", "another key") if arguments[0] == "publish" else ()
        return self.machine.tell(self.project, *arguments, *takes_over)

    def verify(self, name: str, *more: str) -> tuple[int, dict[str, str]]:
        """Return the exit code, and what is wrong by name of the check."""
        done = self.machine.builder(self.project, "verify", name, *_WITHOUT, *more, "--json")
        if not done.stdout:
            return done.returncode, {"error": done.stderr}
        checks = json.loads(done.stdout)["checks"]
        return done.returncode, {check["name"]: check["finding"] for check in checks if not check["passed"]}

    def get(self, path: str) -> httpx.Response:
        accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
        url = f"http://{self.server.host}/v2/{self.repository}/{path}"
        return httpx.get(url, auth=("user", "secret"), headers={"Accept": accept})

    def put(self, reference: str, content: bytes) -> None:
        url = f"http://{self.server.host}/v2/{self.repository}/manifests/{reference}"
        headers = {"Content-Type": json.loads(content)["mediaType"]}
        assert httpx.put(url, auth=("user", "secret"), content=content, headers=headers).status_code == 201

    def stored(self, digest: str) -> Path:
        sha256 = digest.removeprefix("sha256:")
        return self.data / "docker/registry/v2/blobs/sha256" / sha256[:2] / sha256 / "data"


def _run(*argv: str) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Site]:
    folder = tmp_path_factory.mktemp("signed")
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    with serve_registry(folder) as server:
        opened = _Site(machine, server, folder / "data", project)
        opened.set_up(signer=opened.signer())
        assert opened.run("build")[0] == 0
        code, results = opened.run("publish")
        assert code == 0, results
        yield opened


@pytest.fixture
def cells(site: _Site) -> list[dict[str, Any]]:
    """What is published: two cells, and the list of both."""
    code, results = site.run("publish")
    assert code == 0, results
    rows: list[dict[str, Any]] = results["cells"]
    assert [row["status"] for row in rows] == ["there"] * 3
    return rows


def test_the_policy_engine_takes_what_we_signed_and_nothing_else(
    site: _Site, cells: list[dict[str, Any]], engines: Engines, tmp_path: Path
) -> None:
    policy, registries, auth = _policy_files(site, tmp_path, site.signer())
    own, listed = cells[0]["names"][0], cells[2]["names"][0]
    manifest = site.get(f"manifests/{cells[0]['digest']}").content
    site.put("unsigned", _changed(manifest))
    site.put("renamed", manifest)
    pinned = f"{site.image}@{cells[0]['digest']}"
    asked = [own, listed, pinned, f"{site.image}:unsigned", f"{site.image}:renamed"]
    answers = engines.judge(policy, registries, auth, *asked)
    assert [answer["allowed"] for answer in answers] == [True, True, True, False, False], answers
    assert "no signature exists" in answers[3]["why"]
    assert "does not match" in answers[4]["why"] or "not accepted" in answers[4]["why"]
    others = _policy_files(site, tmp_path / "other", site.signer("other"))
    (refused,) = engines.judge(others[0], others[1], auth, own)
    assert not refused["allowed"]
    assert "cryptographic signature verification failed" in refused["why"]


def _policy_files(site: _Site, folder: Path, signer: dict[str, str]) -> tuple[Path, Path, Path]:
    """Write what 'emit policy' gives for a key to where hosts have it."""
    site.set_up(signer=signer)
    try:
        done = site.machine.builder(site.project, "emit", "policy", "--output", str(folder))
        assert done.returncode == 0, done.stderr
    finally:
        site.set_up(signer=site.signer())
    registries = folder / "registries.d"
    registries.mkdir()
    (folder / "registries.d.yaml").rename(registries / "vendor.yaml")
    return folder / "policy.json", registries, site.server.auth_file(folder)


def _changed(manifest: bytes) -> bytes:
    return json.dumps(json.loads(manifest) | {"annotations": {"another": "image"}}).encode()


def test_cosign_takes_both_forms(site: _Site, cells: list[dict[str, Any]], engines: Engines, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(site.server.auth_file(tmp_path).read_text())
    key = ["--key", site.signer()["public_key"], "--insecure-ignore-tlog=true", "--allow-http-registry"]
    for name in (cells[0]["names"][0], cells[2]["names"][0]):
        for form in ("--new-bundle-format=true", "--new-bundle-format=false"):
            done = engines.cosign("verify", *key, form, name, home=tmp_path)
            assert done.returncode == 0, f"{name} {form}: {done.stderr}"
            assert cells[0]["digest"] in done.stdout or cells[2]["digest"] in done.stdout
    wrong = ["--key", site.signer("other")["public_key"], *key[2:]]
    for form in ("--new-bundle-format=true", "--new-bundle-format=false"):
        assert engines.cosign("verify", *wrong, form, cells[0]["names"][0], home=tmp_path).returncode != 0
        asked = ["verify-attestation", form, "--type"]
        for kind in _KINDS:
            done = engines.cosign(*asked, kind, *key, cells[0]["names"][0], home=tmp_path)
            assert done.returncode == 0, f"{form} {kind}: {done.stderr}"
            assert engines.cosign(*asked, kind, *wrong, cells[0]["names"][0], home=tmp_path).returncode != 0
        assert engines.cosign(*asked, "vuln", *key, cells[0]["names"][0], home=tmp_path).returncode != 0


def test_an_admission_controller_takes_what_we_attested_and_nothing_else(
    site: _Site, cells: list[dict[str, Any]], engines: Engines, tmp_path: Path
) -> None:
    """Sigstore's policy-controller, which reads no bundles where a policy names a key."""
    (tmp_path / "config.json").write_text(site.server.auth_file(tmp_path).read_text())
    own, digest = cells[0]["names"][0], cells[0]["digest"]
    manifest = site.get(f"manifests/{digest}").content
    another = _changed(manifest)
    site.put("not-attested", another)
    lists = {form: site.get(f"manifests/{digest.replace(':', '-')}.{form}").content for form in ("sig", "att")}
    moved = f"sha256-{hashlib.sha256(another).hexdigest()}"
    site.put(f"{moved}.att", lists["att"])

    def ask(policy: Path, name: str) -> tuple[bool, str]:
        (answer,) = engines.admit(policy, name, home=tmp_path)
        return answer["allowed"], answer["why"]

    assert ask(_admission(site, tmp_path / "policy.yaml", _KINDS), own) == (True, "")
    assert ask(_admission(site, tmp_path / "none.yaml", ()), own) == (True, "")
    allowed, why = ask(_admission(site, tmp_path / "missing.yaml", (*_KINDS, "vuln")), own)
    assert (allowed, "no matching attestations with type vuln" in why) == (False, True), why
    allowed, why = ask(_admission(site, tmp_path / "wrong.yaml", _KINDS, key="other"), own)
    assert (allowed, "no matching attestations" in why) == (False, True), why
    allowed, why = ask(tmp_path / "policy.yaml", f"{site.image}:not-attested")
    assert (allowed, "no matching subject digest found" in why) == (False, True), why
    site.put(f"{digest.replace(':', '-')}.att", json.dumps(json.loads(lists["att"]) | {"layers": []}).encode())
    allowed, why = ask(tmp_path / "policy.yaml", own)
    assert (allowed, "no matching attestations" in why) == (False, True), why
    code, results = site.run("publish")
    assert (code, results["cells"][0]["status"], results["cells"][0]["attached"]) == (0, "completed", 3)
    assert ask(tmp_path / "policy.yaml", own) == (True, "")


def _admission(site: _Site, file: Path, kinds: Sequence[str], key: str = "release") -> Path:
    """Write a ClusterImagePolicy that wants statements of these kinds by a key."""
    wanted = [{"name": f"wanted-{number}", "predicateType": kind} for number, kind in enumerate(kinds)]
    authority = {"name": "vendor", "key": {"data": Path(site.signer(key)["public_key"]).read_text()}}
    policy = {
        "apiVersion": "policy.sigstore.dev/v1beta1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "vendor"},
        "spec": {"images": [{"glob": "**"}], "authorities": [authority | ({"attestations": wanted} if kinds else {})]},
    }
    file.write_text(yaml.safe_dump(policy))
    return file


def test_another_reader_finds_every_blob_of_a_published_image_right(
    site: _Site, cells: list[dict[str, Any]], engines: Engines, tmp_path: Path
) -> None:
    """Crane unpacks each layer and compares it with the configuration, and everything with its digest."""
    (tmp_path / "config.json").write_text(site.server.auth_file(tmp_path).read_text())
    for row in cells:
        done = engines.crane("validate", "--remote", row["names"][0], home=tmp_path)
        assert done.returncode == 0, done.stderr
    layer = site.get(f"manifests/{cells[0]['digest']}").json()["layers"][-1]["digest"]
    file = site.stored(layer)
    before = file.read_bytes()
    file.write_bytes(before[:-5] + bytes([before[-5] ^ 1]) + before[-4:])
    try:
        done = engines.crane("validate", "--remote", cells[0]["names"][0], home=tmp_path)
        assert done.returncode != 0
        assert layer.removeprefix("sha256:") in done.stderr or "gzip" in done.stderr, done.stderr
    finally:
        file.write_bytes(before)


def test_everything_about_an_image_is_verified(site: _Site, cells: list[dict[str, Any]]) -> None:
    for row in cells:
        assert site.verify(row["names"][0]) == (0, {})
    assert site.verify(f"{site.image}@{cells[0]['digest']}") == (0, {})
    done = site.machine.builder(site.project, "verify", cells[0]["names"][0], "--json")
    wrong = [check for check in json.loads(done.stdout)["checks"] if not check["passed"]]
    assert (done.returncode, [check["name"] for check in wrong]) == (16, ["tests"])
    assert wrong[0]["finding"] == "it did not pass module-signature, boot; it passed fit"
    code, findings = site.verify(cells[0]["names"][0], "--key", site.signer("other")["public_key"])
    assert (code, set(findings)) == (16, {"signature", "signature bundle", "image"}), "and nothing more is fetched"


def test_a_changed_byte_anywhere_is_noticed(site: _Site, cells: list[dict[str, Any]]) -> None:
    """One byte of each stored part is changed in the server's own files, and put back."""
    name, digest = cells[0]["names"][0], cells[0]["digest"]
    manifest = site.get(f"manifests/{digest}").json()
    parts = {"manifest": digest, "configuration": manifest["config"]["digest"]}
    parts |= {f"layer {number}": layer["digest"] for number, layer in enumerate(manifest["layers"])}
    signatures = site.get(f"manifests/{digest.replace(':', '-')}.sig")
    parts["payload of a signature"] = signatures.json()["layers"][0]["digest"]
    for layer in site.get(f"manifests/{digest.replace(':', '-')}.att").json()["layers"]:
        parts[f"envelope of {layer['annotations']['predicateType']}"] = layer["digest"]
    for entry in site.get(f"manifests/{digest.replace(':', '-')}").json()["manifests"]:
        kind = entry["annotations"]["dev.sigstore.bundle.predicateType"]
        parts[f"manifest of {kind}"] = entry["digest"]
        parts[f"bundle of {kind}"] = site.get(f"manifests/{entry['digest']}").json()["layers"][0]["digest"]
    assert len(parts) >= 2 + 2 + 1 + 3 + 8
    for what, part in parts.items():
        file = site.stored(part)
        before = file.read_bytes()
        # A server refuses to serve a manifest that is damaged, which takes as long as waiting for it to recover.
        for place in {len(before) // 2} if "manifest" in what else {0, len(before) // 2, len(before) - 1}:
            file.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
            try:
                code, findings = site.verify(name)
                assert code != 0, f"{what}, byte {place}"
                assert findings, f"{what}, byte {place}"
            finally:
                file.write_bytes(before)
    assert site.verify(name) == (0, {})


def test_what_is_gone_is_missed_and_is_added_again(site: _Site, cells: list[dict[str, Any]]) -> None:
    name, digest = cells[1]["names"][0], cells[1]["digest"]
    listing = digest.replace(":", "-")
    index = site.get(f"manifests/{listing}").json()
    for entry in index["manifests"]:
        site.put(
            listing,
            json.dumps(index | {"manifests": [other for other in index["manifests"] if other != entry]}).encode(),
        )
        code, findings = site.verify(name)
        findings.pop("image", "")  # not read where the signature is missing
        assert (code, len(findings)) == (16, 1)
        assert "it has no statement" in next(iter(findings.values()))
        code, audit = site.run("audit")
        assert [row["drift"] for row in audit["tags"] if row["name"] == name] == ["unsigned"]
    code, results = site.run("publish")
    assert (code, [row["status"] for row in results["cells"]]) == (0, ["there", "completed", "there"])
    signatures = site.get(f"manifests/{listing}.sig").json()
    site.put(f"{listing}.sig", json.dumps(signatures | {"layers": signatures["layers"][1:]}).encode())
    assert set(site.verify(name)[1]) == {"signature", "image"}
    code, results = site.run("publish")
    assert (code, [row["attached"] for row in results["cells"]]) == (0, [0, 1, 0])
    assert site.verify(name) == (0, {})
    code, audit = site.run("audit")
    assert {row["drift"] for row in audit["tags"] if row["cell"]} == {"none"}


def test_a_new_key_signs_beside_the_old_one(site: _Site, cells: list[dict[str, Any]]) -> None:
    """Rotation: both keys are good until the old one is taken out of the clusters."""
    site.set_up(signer=site.signer("next"))
    try:
        code, results = site.run("publish")
        assert (code, {row["status"] for row in results["cells"]}) == (0, {"completed"})
        assert site.verify(cells[0]["names"][0]) == (0, {})
    finally:
        site.set_up(signer=site.signer())
    assert site.verify(cells[0]["names"][0]) == (0, {})


def _check_signs(site: _Site, environment: dict[str, str]) -> None:
    """Let the signer that is configured complete what is published, with what it needs in the environment."""
    own_machine = site.machine
    site.machine = own_machine.with_environment(environment)
    try:
        code, results = site.run("publish")
        assert (code, {row["status"] for row in results["cells"]}) == (0, {"completed"}), results
        assert site.verify(results["cells"][0]["names"][0]) == (0, {})
    finally:
        site.machine = own_machine
        site.set_up(signer=site.signer())


def test_a_token_signs_images(site: _Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("softhsm2-util")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    _run("softhsm2-util", "--init-token", "--free", "--label", "Images", "--so-pin", "98765", "--pin", "2468")
    key = site.signer("token")
    _run(
        "softhsm2-util",
        "--import",
        key["key_file"],
        "--token",
        "Images",
        "--label",
        "images",
        "--id",
        "01",
        "--pin",
        "2468",
    )
    (tmp_path / "pin").write_text("2468\n")
    (tmp_path / "pin").chmod(0o600)
    token = {
        "public_key": key["public_key"],
        "pkcs11": f"pkcs11:token=Images;object=images?module-path={_SOFTHSM}",
        "passphrase_file": str(tmp_path / "pin"),
        "pass_environment": ["SOFTHSM2_CONF"],
    }
    site.set_up(signer=token)
    environment = {"SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")}
    _check_signs(site, environment)


def test_a_key_that_cosign_made_signs_images(site: _Site, engines: Engines, tmp_path: Path) -> None:
    made = engines.cosign("generate-key-pair", "--output-key-prefix", str(tmp_path / "vendor"), home=tmp_path)
    assert made.returncode == 0, made.stderr
    (tmp_path / "vendor.key").chmod(0o600)
    key = {
        "public_key": str(tmp_path / "vendor.pub"),
        "key_file": str(tmp_path / "vendor.key"),
        "passphrase_env": "VENDOR_PASSPHRASE",
    }
    site.set_up(signer=key)
    _check_signs(site, {"VENDOR_PASSPHRASE": engines.password})


def test_a_key_that_does_not_belong_to_its_public_key_publishes_nothing(site: _Site) -> None:
    signer = site.signer() | {"public_key": site.signer("other")["public_key"]}
    site.set_up(signer=signer)
    try:
        done = site.machine.builder(site.project, "publish")
        assert (done.returncode, "does not belong to the public key" in done.stderr) == (9, True)
    finally:
        site.set_up(signer=site.signer())


def test_a_registry_with_its_own_list_of_referrers(site: _Site, engines: Engines) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen([engines.referrers_registry, host], stderr=subprocess.DEVNULL)
    before = site.server
    site.server = RegistryServer(host, "process")
    try:
        _wait(host)
        site.set_up(signer=site.signer())
        assert site.run("build")[0] == 0, "only its names are new"
        code, results = site.run("publish")
        assert (code, {row["status"] for row in results["cells"]}) == (0, {"published"}), results
        digest = results["cells"][0]["digest"]
        listed = site.get(f"referrers/{digest}").json()["manifests"]
        kinds = [site.get(f"manifests/{entry['digest']}").json()["artifactType"] for entry in listed]
        assert kinds == [_BUNDLE] * 4
        tags = site.get("tags/list").json()["tags"]
        assert digest.replace(":", "-") not in tags, "the list under a tag is for registries without one"
        for row in results["cells"]:
            assert site.verify(row["names"][0]) == (0, {})
        assert {row["status"] for row in site.run("publish")[1]["cells"]} == {"there"}
        code, audit = site.run("audit")
        assert (code, {row["drift"] for row in audit["tags"]}) == (0, {"none"})
    finally:
        process.kill()
        process.wait()
        site.server = before
        site.set_up(signer=site.signer())
        site.run("build")


def _wait(host: str) -> None:
    for _ in range(100):
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://{host}/v2/")
            return
        time.sleep(0.05)


def test_a_bundle_brings_everything_to_another_registry(
    site: _Site, cells: list[dict[str, Any]], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    archive = tmp_path / "bundle.tar"
    code, report = site.run("bundle", "--output", str(archive))
    assert (code, len(report["images"]), report["left_out"]) == (0, 5, []), (
        "three images, and the index under both its tags"
    )
    digests = {row["names"][0].rpartition("/")[2]: row["digest"] for row in cells}
    again = tmp_path / "again.tar"
    assert site.run("bundle", "--output", str(again))[0] == 0
    assert archive.read_bytes() == again.read_bytes(), "equal content gives an equal file"
    name = cells[0]["names"][0]
    _run("skopeo", "copy", "--quiet", f"oci-archive:{archive}:{name}", f"dir:{tmp_path}/copy")
    assert f"sha256:{hashlib.sha256((tmp_path / 'copy/manifest.json').read_bytes()).hexdigest()}" == cells[0]["digest"]
    with serve_registry(tmp_path_factory.mktemp("mirror")) as mirror:
        elsewhere = tmp_path / "site"
        elsewhere.mkdir()
        machine = site.machine.with_environment({"REGISTRY_AUTH_FILE": str(mirror.auth_file(elsewhere))})
        load = ("bundle", "load", str(archive), "--to", f"{mirror.host}/mirror", "--plain-http", "--json")
        first = machine.builder(elsewhere, *load)
        assert first.returncode == 0, first.stderr
        names = json.loads(first.stdout)["names"]
        assert {item["status"] for item in names} == {"loaded"}
        images = [item for item in names if ":index" not in item["name"]]
        assert {item["name"].rpartition("/")[2]: item["digest"] for item in images} == digests
        assert len(names) == len(images) + 2
        assert {item["status"] for item in json.loads(machine.builder(elsewhere, *load).stdout)["names"]} == {"there"}
        key = ("--key", site.signer()["public_key"], "--plain-http", *_WITHOUT)
        for item in images:
            assert item["name"].startswith(f"{mirror.host}/mirror/drivers/signed:")
            checked = machine.builder(elsewhere, "verify", item["name"], *key, "--signed-as", site.image)
            assert checked.returncode == 0, checked.stdout
            assert machine.builder(elsewhere, "verify", item["name"], *key).returncode == 16, "it was signed elsewhere"
        _pull_as_nodes_do(site, mirror, mirror.auth_file(elsewhere), elsewhere / "registries.conf")


def _pull_as_nodes_do(site: _Site, mirror: RegistryServer, auth: Path, rules: Path) -> None:
    """What an operator reads in the site's registry names the vendor's; nodes with a mirror rule find it all the same."""
    place = f"{mirror.host}/mirror/{site.repository}"
    content = asyncio.run(fetch_index(f"{place}:index", auth.read_bytes(), plain_http=True))
    index = read_index(content, [Path(site.signer()["public_key"]).read_text()])
    names = [item.image for kernels in index.images.values() for item in kernels.values()]
    assert len(names) == 2
    rules.write_text(
        f'[[registry]]\nprefix = "{site.image}"\nlocation = "127.0.0.1:9/nothing"\nmirror-by-digest-only = true\n'
        f'[[registry.mirror]]\nlocation = "{place}"\ninsecure = true\n'
    )
    environment = os.environ | {"REGISTRY_AUTH_FILE": str(auth)}
    for name in names:
        assert name.startswith(f"{site.image}@")
        command = ["skopeo", "--registries-conf", str(rules), "inspect", "--raw", f"docker://{name}"]
        found = subprocess.run(command, check=True, capture_output=True, env=environment)
        assert name.endswith(f"@sha256:{hashlib.sha256(found.stdout).hexdigest()}")


def test_a_damaged_bundle_is_not_loaded(site: _Site, cells: list[dict[str, Any]], tmp_path: Path) -> None:
    archive = tmp_path / "bundle.tar"
    assert site.run("bundle", "--output", str(archive))[0] == 0
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    done = site.machine.builder(site.project, "bundle", "load", str(archive), "--to", f"{site.server.host}/other")
    assert (done.returncode, "is damaged" in done.stderr) == (8, True)
    tags = httpx.get(f"http://{site.server.host}/v2/other/drivers/signed/tags/list", auth=("user", "secret"))
    assert tags.status_code == 404
    archive.write_bytes(content[: len(content) // 3])
    done = site.machine.builder(site.project, "bundle", "load", str(archive), "--to", f"{site.server.host}/other")
    assert done.returncode == 8
    done = site.machine.builder(site.project, "bundle", "load", str(archive), "--to", "no registry")
    assert (done.returncode, "is no registry" in done.stderr) == (2, True)


def test_kmm_gets_what_is_published(site: _Site, cells: list[dict[str, Any]], tmp_path: Path) -> None:
    code, emitted = site.run("emit", "kmm", "--flavour", "upstream")
    assert code == 0
    index = json.loads(emitted["files"]["ptemplate/images.json"])
    published = {row["kernel"]: f"{site.image}@{row['digest']}" for row in cells if row["kernel"]}
    assert {kernel: entry["image"] for kernel, entry in index["kernels"].items()} == published
    assert site.machine.builder(site.project, "emit", "kmm", "--output", str(tmp_path)).returncode == 0
    module = tmp_path / "ptemplate" / "40-module.yaml"
    argv = ["lint", "kmm", str(module), "--kernel", cells[0]["kernel"], "--json"]
    done = site.machine.builder(site.project, *argv)
    choice = json.loads(done.stdout)["choices"][0]
    assert (done.returncode, choice["image"]) == (0, published[cells[0]["kernel"]])
    site.edit_secret("user:wrong")
    try:
        done = site.machine.builder(site.project, "emit", "kmm")
        assert (done.returncode, "refuses access" in done.stderr) == (7, True)
    finally:
        site.edit_secret("user:secret")


def test_nfd_gets_what_published_modules_say(site: _Site, cells: list[dict[str, Any]]) -> None:
    """The sample's rule is for the PCI device that its table names; kernels are those that have an image."""
    done = site.machine.builder(site.project, "emit", "nfd", "--flavour", "upstream", "--json")
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)["files"]
    rule = yaml.safe_load(files["ptemplate/nodefeaturerule.yaml"])
    asked = {entry["name"]: entry.get("matchAny", [entry])[0]["matchFeatures"][0] for entry in rule["spec"]["rules"]}
    device = asked["ptemplate: a PCI device"]
    assert device["feature"] == "pci.device"
    assert (device["matchExpressions"]["vendor"]["value"], device["matchExpressions"]["device"]["value"]) == (
        ["1234"], ["11e8"],
    )  # fmt: skip
    kernels = asked["ptemplate: a kernel with an image"]["matchExpressions"]["full"]["value"]
    assert kernels == sorted(row["kernel"].replace("+", "_") for row in cells if row["kernel"])
    assert "ptemplate/nodefeature.example.yaml" not in files, "nobody has to say it by hand"


def test_tools_pull_what_was_published(site: _Site, cells: list[dict[str, Any]], tmp_path: Path) -> None:
    auth = str(site.server.auth_file(tmp_path))
    for row in cells:
        source = f"docker://{row['names'][0]}"
        argv = [
            "skopeo",
            "copy",
            "--quiet",
            "--all",
            "--src-tls-verify=false",
            "--authfile",
            auth,
            source,
            f"dir:{tmp_path}/copy",
        ]
        _run(*argv)
        shutil.rmtree(tmp_path / "copy")
    need("podman")
    with tempfile.TemporaryDirectory(prefix="podman-") as short:  # podman takes no long paths
        store = ["podman", "--root", f"{short}/graph", "--runroot", f"{short}/run", "--storage-driver", "vfs"]
        name = cells[0]["names"][0]
        _run(*store, "pull", "--quiet", "--tls-verify=false", "--authfile", auth, name)
        shown = subprocess.run([*store, "image", "inspect", name], check=True, capture_output=True, text=True)
        assert json.loads(shown.stdout)[0]["Digest"] == cells[0]["digest"]
