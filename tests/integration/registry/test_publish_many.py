"""Many kernels at once, signed, to the real registry server: kills, no-ops, other machines."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from builder.publish.index_document import is_index_tag
from integration.conftest import Machine, copy_project
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_KILLS = 12
_LEAST_CELLS = 12
_WRITTEN = re.compile(rb'"(?:PUT|PATCH|POST) /v2/\S+ HTTP/1.1" 20[12]')
_ACCEPT = {"Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"}


class _Site:
    """A signed project for every kernel of a series: more would take longer, and show nothing else."""

    def __init__(
        self, machine: Machine, server: RegistryServer, log: Path, project: Path, client: httpx.Client
    ) -> None:
        self.machine = machine
        self._client = client
        self.server = server
        self.log = log
        self.project = project
        self.repository = ""

    def use(self, repository: str) -> None:
        """Give the driver another repository, and its images their names there."""
        self.repository = repository
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["drivers"][0] |= {"version": "1.7.0", "image": f"{self.server.host}/{repository}"}
        settings["registry"] = {
            "plain_http": [self.server.host],
            "auth_files": [str(self.server.auth_file(self.project))],
        }
        key = self.project.parent / "images"
        settings["publish"] = {"signer": {"public_key": f"{key}.pub", "key_file": f"{key}.pem"}}
        settings["groups"]["many"] = {"source": "debian", "arches": ["x86_64"], "kernels": ["6.12.*"]}
        settings["default_group"] = "many"
        file.write_text(yaml.safe_dump(settings))
        code, results = self.run("build")
        assert code == 0, results

    def run(self, *arguments: str, machine: Machine | None = None) -> tuple[int, Any]:
        return (machine or self.machine).tell(self.project, *arguments)

    def get(self, path: str, method: str = "GET") -> httpx.Response:
        return self._client.request(method, f"{self.repository}/{path}")

    def tags(self) -> list[str]:
        """Return the final tags: those of signatures, of lists of referrers and of the index are not."""
        answer = self.get("tags/list")
        tags = answer.json()["tags"] or [] if answer.status_code == 200 else []
        return sorted(tag for tag in tags if not tag.startswith("sha256-") and not is_index_tag(tag))

    def is_only_begun(self, tag: str) -> bool:
        """Tell whether the server lists a tag that stands for nothing: it makes the folder first, then the link in it.

        Of a tag that stands for a manifest which is not there it says the manifest's digest, not the tag.
        """
        answer = self.get(f"manifests/{tag}")
        return answer.status_code == 404 and "Tag" in answer.json()["errors"][0]["detail"]

    def check_whole(self, tag: str) -> None:
        """A final tag stands for an image of which every part is there, and which is signed and attested."""
        manifest = self.get(f"manifests/{tag}")
        assert manifest.status_code == 200, tag
        data: dict[str, Any] = manifest.json()
        for entry in [data["config"], *data["layers"]]:
            blob = self.get(f"blobs/{entry['digest']}", "HEAD")
            assert (blob.status_code, int(blob.headers["Content-Length"])) == (200, entry["size"]), f"{tag}: {entry}"
        place = manifest.headers["Docker-Content-Digest"].replace(":", "-")
        assert len(self.get(f"manifests/{place}.sig").json()["layers"]) == 1, tag
        assert len(self.get(f"manifests/{place}").json()["manifests"]) == 4, tag
        attached = self.get(f"manifests/{place}.att").json()["layers"]
        assert len({layer["annotations"]["predicateType"] for layer in attached}) == len(attached) == 3, tag

    def writes(self) -> int:
        """Return how often the server took something, by its own log."""
        return len(_WRITTEN.findall(self.log.read_bytes()))

    def wait_for_writes(self, number: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until the server took something so often from now on, or a process has ended."""
        with self.log.open("rb") as log:
            log.seek(0, os.SEEK_END)
            while number > 0 and process.poll() is None:
                number -= len(_WRITTEN.findall(log.read()))
                time.sleep(0.005)

    def finished_uploads(self) -> Counter[str]:
        """Return how often each blob was taken into each repository, from the server's own log."""
        found = re.findall(r'"PUT /v2/(\S+)/blobs/uploads/\S*digest=sha256%3A([0-9a-f]{64})\S* HTTP/1.1" 201', self.log.read_text())  # fmt: skip
        return Counter(f"{repository} {digest}" for repository, digest in found)


@pytest.fixture(scope="module")
def site(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Site]:
    folder = tmp_path_factory.mktemp("many")
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    key = folder / "images.pem"
    make = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)]
    subprocess.run(make, check=True, capture_output=True)
    key.chmod(0o600)
    subprocess.run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(folder / "images.pub")], check=True)
    # One client: to make one costs more than a request, and thousands of them are sent.
    with (
        serve_registry(folder) as server,
        httpx.Client(base_url=f"http://{server.host}/v2/", auth=("user", "secret"), headers=_ACCEPT) as client,
    ):
        yield _Site(machine, server, folder / "log", project, client)


def test_kills_at_any_moment_leave_no_half_published_tag(site: _Site) -> None:
    """Twelve kills over two repositories, then a run to the end each: the right tags, each whole at every moment."""
    choose = random.Random(20261123)
    command = [sys.executable, "-m", "builder", "--project", str(site.project), "publish", "--json"]
    command += ["--allow-outside", str(site.project.parent)]  # the key that signs images lies there
    site.use("drivers/whole")
    cells = _publish_all(site)
    writes = site.writes()
    assert len(cells) >= _LEAST_CELLS
    assert site.tags() == _names(cells)
    killed = 0
    for round_number in range(2):
        site.use(f"drivers/round-{round_number}")
        for _ in range(_KILLS // 2):
            process = subprocess.Popen(
                command, env=site.machine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )  # fmt: skip
            # By what was written, not by the clock: six of them do not publish everything, and each writes something.
            site.wait_for_writes(choose.randrange(1, writes // 7), process)
            killed += process.poll() is None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for tag in site.tags():
                if not site.is_only_begun(tag):
                    site.check_whole(tag)
        cells = _publish_all(site)
        assert site.tags() == _names(cells)
        assert {cell["status"] for cell in cells} <= {"published", "there"}
        for tag in site.tags():
            site.check_whole(tag)
    assert killed >= _KILLS // 2, "a publish that is done cannot be killed"
    repeated = {blob: number for blob, number in site.finished_uploads().items() if number > 1}
    assert not repeated, "a blob that the repository has is not sent again"
    assert len(site.finished_uploads()) > 3 * _LEAST_CELLS


def test_a_second_publish_has_nothing_to_do(site: _Site) -> None:
    before = site.tags(), site.finished_uploads()
    cells = _publish_all(site)
    assert {cell["status"] for cell in cells} == {"there"}
    assert (sum(cell["blobs_sent"] for cell in cells), sum(cell["attached"] for cell in cells)) == (0, 0)
    assert (site.tags(), site.finished_uploads()) == before
    code, audit = site.run("audit")
    assert (code, {row["drift"] for row in audit["tags"]}, len(audit["tags"])) == (0, {"none"}, len(cells) + 1)


def test_a_fresh_machine_builds_and_publishes_nothing(site: _Site, tmp_path: Path) -> None:
    """No store, no journal, no cache: the registry alone says what is done."""
    storage = tmp_path / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n')
    fresh = site.machine.with_environment(
        {
            "CONTAINERS_STORAGE_CONF": str(storage),
            "KMODSMITH_WORK_DIR": str(tmp_path / "work"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
    )
    code, results = site.run("build", "--unless-published", machine=fresh)
    assert (code, {(cell["status"], cell["reason"]) for cell in results["cells"]}) == (0, {("skipped", "published")})
    code, published = site.run("publish", machine=fresh)
    assert (code, {cell["status"] for cell in published["cells"]}) == (0, {"there"})
    code, audit = site.run("audit", machine=fresh)
    assert (code, {row["drift"] for row in audit["tags"]}) == (0, {"none"})
    file = site.project / "versions.yaml"
    before = file.read_text()
    file.write_text(before.replace("version: 1.7.0", "version: 1.7.1"))
    try:
        planned = site.run("plan", machine=fresh)[1]["cells"]
        assert {cell["action"] for cell in planned} == {"build"}, "another version is another key"
    finally:
        file.write_text(before)


def _names(cells: list[dict[str, Any]]) -> list[str]:
    return sorted(name.rpartition(":")[2] for cell in cells for name in cell["names"])


def _publish_all(site: _Site) -> list[dict[str, Any]]:
    code, results = site.run("publish")
    assert code == 0, results
    cells: list[dict[str, Any]] = results["cells"]
    return cells
