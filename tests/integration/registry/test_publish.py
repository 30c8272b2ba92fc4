"""Publishing to the real registry server: once, whole, resumable, and compared with what was published."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from programs import give_up

from integration.conftest import Machine, copy_project
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.buildah, pytest.mark.archive]


class _Site:
    """A project whose driver has a repository, built for a few kernels."""

    def __init__(self, machine: Machine, server: RegistryServer, project: Path) -> None:
        self.machine = machine
        self.server = server
        self.project = project
        self.repository = "drivers/ptemplate"
        self.client = self._open_client()

    def _open_client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://{self.server.host}/v2/{self.repository}/", auth=("user", "secret"))

    def edit(self, version: str, secret: str = "user:secret") -> None:
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["drivers"][0] |= {"version": version, "image": f"{self.server.host}/{self.repository}"}
        settings["registry"] = {"plain_http": [self.server.host], "auth_files": [str(self.server.auth_file(self.project, secret))]}  # fmt: skip
        settings["publish"] = {"tags": ["version-kernel"]}
        file.write_text(yaml.safe_dump(settings))

    def run(self, *arguments: str) -> tuple[int, Any]:
        return self.machine.tell(self.project, *arguments)

    def tags(self) -> list[str]:
        answer = self.client.get("tags/list")
        return sorted(answer.json()["tags"] or []) if answer.status_code == 200 else []


@pytest.fixture(scope="module")
def site(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Site]:
    folder = tmp_path_factory.mktemp("publish")
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    with serve_registry(folder) as server:
        opened = _Site(machine, server, project)
        opened.edit("1.8.0")
        assert opened.run("build")[0] == 0
        yield opened
        opened.client.close()


def _names(cells: list[dict[str, Any]]) -> list[str]:
    return sorted(name.rpartition(":")[2] for cell in cells for name in cell["names"])


def _check_whole(site: _Site, tag: str) -> dict[str, Any]:
    manifest = site.client.get(f"manifests/{tag}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
    assert manifest.status_code == 200, tag
    data: dict[str, Any] = manifest.json()
    for entry in [data["config"], *data["layers"]]:
        blob = site.client.head(f"blobs/{entry['digest']}")
        assert (blob.status_code, int(blob.headers["Content-Length"])) == (200, entry["size"]), f"{tag}: {entry}"
    return data


def _publish_all(site: _Site) -> list[dict[str, Any]]:
    code, results = site.run("publish")
    assert code == 0, results
    cells: list[dict[str, Any]] = results["cells"]
    return cells


def test_what_is_published_is_what_was_built_and_a_base_is_sent_once(site: _Site, tmp_path: Path) -> None:
    cells = _publish_all(site)
    built = {cell["cell"]: cell["digest"] for cell in site.run("build")[1]["cells"]}
    assert {cell["cell"]: cell["digest"] for cell in cells} == built
    name = cells[0]["names"][0]
    auth = str(site.server.auth_file(tmp_path))
    copied = subprocess.run(
        ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--authfile", auth, f"docker://{name}", f"dir:{tmp_path}/copy"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert copied.returncode == 0, copied.stderr
    manifest = (tmp_path / "copy" / "manifest.json").read_bytes()
    layers = [layer["digest"] for layer in json.loads(manifest)["layers"]]
    others = [_check_whole(site, tag)["layers"] for tag in site.tags()]
    assert all(other[0]["digest"] == layers[0] for other in others), "all share their base"


def test_no_password_is_told(site: _Site) -> None:
    """Not even where every command is shown, and the registry refuses it."""
    for secret in ("user:secret", "user:wrong"):
        site.edit("1.8.0", secret)
        done = site.machine.builder(site.project, "-v", "publish")
        told = done.stdout + done.stderr
        assert told
        assert secret not in told
        assert base64.b64encode(secret.encode()).decode() not in told
    site.edit("1.8.0")


def test_another_image_under_the_same_tag_is_a_conflict(site: _Site) -> None:
    cells = _publish_all(site)
    before = {tag: _check_whole(site, tag) for tag in site.tags()}
    source = site.project / "kernel-module" / "another-input"
    source.write_text("another input\n")
    try:
        kernel = cells[0]["kernel"]
        assert site.run("publish", "--kernel", kernel)[1]["cells"][0]["status"] == "not-built"
        assert site.run("build", "--kernel", kernel)[0] == 0
        code, results = site.run("publish", "--kernel", kernel)
        (cell,) = results["cells"]
        assert (code, cell["status"]) == (16, "conflict")
        assert cells[0]["digest"] in cell["why"]
        assert cell["digest"] in cell["why"]
        assert {tag: _check_whole(site, tag) for tag in site.tags()} == before
        code, audit = site.run("audit", "--kernel", kernel)
        assert (code, [row["drift"] for row in audit["tags"] if row["cell"]]) == (16, ["different"])
        done = site.machine.builder(site.project, "publish", "--kernel", kernel, "--force", "ptemplate-*")
        assert (done.returncode, "needs a reason" in done.stderr) == (2, True)
        code, results = site.run(
            "publish", "--kernel", kernel, "--force", "ptemplate-*", "--reason", "the first was wrong"
        )
        assert (code, results["cells"][0]["status"]) == (0, "published")
        line = (site.project / ".kmodsmith" / "journal.jsonl").read_text().splitlines()[-1]
        assert (json.loads(line)["replaced"], json.loads(line)["reason"]) == (cells[0]["digest"], "the first was wrong")
    finally:
        source.unlink()


def test_drift_is_found(site: _Site) -> None:
    site.edit("1.8.1")
    try:
        assert site.run("build", "--kernel", "6.12*")[0] == 0
        code, results = site.run("publish", "--kernel", "6.12*")
        assert code == 0, results
        first, second = (cell["names"][0].rpartition(":")[2] for cell in results["cells"][:2])
        digest = {cell["names"][0].rpartition(":")[2]: cell["digest"] for cell in results["cells"]}
        other = site.client.get(f"manifests/{second}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        types = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        assert site.client.put(f"manifests/{first}", content=other.content, headers=types).status_code == 201
        assert site.client.put("manifests/strange", content=other.content, headers=types).status_code == 201
        code, audit = site.run("audit", "--kernel", "6.12*")
        drifts = {row["name"].rpartition(":")[2]: row for row in audit["tags"] if row["drift"] != "none"}
        assert code == 16
        assert {tag: row["drift"] for tag, row in drifts.items()} == {first: "different", "strange": "extra"}
        assert (drifts[first]["recorded"], drifts[first]["found"]) == (digest[first], digest[second])
        assert site.client.delete(f"manifests/{digest[second]}").status_code == 202
        code, audit = site.run("audit", "--kernel", "6.12*")
        assert "missing" in {row["drift"] for row in audit["tags"]}
    finally:
        site.edit("1.8.0")


def test_no_answer_and_no_right_are_not_absence(site: _Site) -> None:
    before = site.tags()
    site.edit("1.8.0", "user:wrong")
    try:
        code, results = site.run("publish")
        unknown = [cell for cell in results["cells"] if cell["status"] == "unknown"]
        assert (code, len(unknown) >= len(results["cells"]) - 1) == (16, True), "all but the one that lost its name"
        assert "refuses access (HTTP 401)" in unknown[0]["why"]
        code, audit = site.run("audit")
        assert {row["drift"] for row in audit["tags"]} == {"unknown"}
    finally:
        site.edit("1.8.0")
    assert site.tags() == before


def test_another_machine_knows_from_the_registry_alone(site: _Site, tmp_path: Path) -> None:
    """Without journal: the key that images carry says what they were made of."""
    if not site.tags():
        give_up("what the tests above publish")
    command = [
        sys.executable,
        "-m",
        "builder",
        "--project",
        str(site.project),
        "--work-dir",
        str(tmp_path),
        "audit",
        "--json",
    ]
    found = subprocess.run(command, env=site.machine.environment, capture_output=True, text=True, check=False)
    rows = [row for row in json.loads(found.stdout)["tags"] if row["cell"]]
    assert {row["drift"] for row in rows} <= {"none", "different"}
    assert sum(row["drift"] == "none" for row in rows) >= len(rows) - 1, "all but the one that was forced"
    assert not any(row["recorded"] for row in rows)
