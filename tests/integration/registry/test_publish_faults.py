"""Publishing through a proxy that breaks things: nothing half-published, clear words, and in the end all is there."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from integration.conftest import Machine, copy_project
from integration.faulty_proxy import FaultyProxy, serve_faults
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.buildah, pytest.mark.archive]


class _Site:
    """A signed project for two kernels, which reaches its registry through the proxy; a fresh repository each time."""

    def __init__(self, machine: Machine, server: RegistryServer, proxy: FaultyProxy, project: Path) -> None:
        self.machine = machine
        self.server = server
        self.proxy = proxy
        self.project = project
        self.number = 0
        self.direct = RegistryServer(proxy.host, "proxy")

    def fresh(self) -> None:
        """Publish into a new repository: all is to be done."""
        self.number += 1
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["drivers"][0] |= {"version": "1.9.5", "image": f"{self.proxy.host}/faults/run-{self.number}"}
        settings["registry"] = {
            "plain_http": [self.proxy.host],
            "auth_files": [str(self.direct.auth_file(self.project))],
            "timeout": 1,
        }
        key = self.project.parent / "keys" / "images"
        settings["publish"] = {"signer": {"public_key": f"{key}.pub", "key_file": f"{key}.pem"}}
        settings["groups"]["two"] = {"source": "debian", "kernels": ["6.1.*-cloud-amd64"], "newest": True}
        settings["default_group"] = "two"
        file.write_text(yaml.safe_dump(settings))
        assert self.run("build")[0] == 0

    def run(self, *arguments: str) -> tuple[int, Any]:
        return self.machine.tell(self.project, *arguments)

    def calm(self) -> None:
        self.proxy.fault = lambda _: False
        self.proxy.change_answer = lambda _, content: content
        self.proxy.token_uses = 0

    def tags(self) -> list[str]:
        """Return the final tags as the server itself has them."""
        import httpx

        url = f"http://{self.server.host}/v2/faults/run-{self.number}/tags/list"
        answer = httpx.get(url, auth=("user", "secret"))
        tags = answer.json()["tags"] or [] if answer.status_code == 200 else []
        return [tag for tag in tags if not tag.startswith("sha256-")]

    def check_all_there(self) -> None:
        self.calm()
        code, results = self.run("publish")
        assert (code, {row["status"] for row in results["cells"]} <= {"published", "there", "completed"}) == (0, True)
        code, audit = self.run("audit")
        assert (code, {row["drift"] for row in audit["tags"]}) == (0, {"none"})
        for row in results["cells"]:
            waived = ("--without", "boot", "--without", "module-signature")
            assert self.machine.builder(self.project, "verify", row["names"][0], *waived).returncode == 0


@pytest.fixture(scope="module")
def site(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Site]:
    import subprocess

    folder = tmp_path_factory.mktemp("faults")
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    (folder / "keys").mkdir()
    key = folder / "keys" / "images.pem"
    make = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)]
    subprocess.run(make, check=True, capture_output=True)
    key.chmod(0o600)
    subprocess.run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(key.with_suffix(".pub"))], check=True)
    with serve_registry(folder) as server, serve_faults(server.host) as proxy:
        yield _Site(machine, server, proxy, project)


@pytest.fixture
def fresh(site: _Site) -> Iterator[_Site]:
    site.calm()
    site.fresh()
    yield site
    site.calm()


@pytest.mark.parametrize("kind", ["500", "503 with a pause", "reset", "reset in the middle"])
def test_faults_that_pass_are_lived_through(fresh: _Site, kind: str) -> None:
    """Every tenth request fails; nobody has to do anything.

    By count: by chance, one request in thousands fails as often as it is tried, and it is published in thousands.
    """
    turns = itertools.count(1)

    def fault(handler: Any) -> bool:
        if next(turns) % 10:
            return False
        if kind == "500":
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            handler.answer(500, b"")
        elif kind.startswith("503"):
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            handler.answer(503, b"", {"Retry-After": "0"})
        elif kind == "reset":
            handler.reset()
        else:
            length = int(handler.headers.get("Content-Length") or 0)
            handler.rfile.read(length // 2)
            handler.reset()
        return True

    fresh.proxy.faults = 0
    fresh.proxy.fault = fault
    code, results = fresh.run("publish")
    assert fresh.proxy.faults >= 3, "the proxy must have broken something"
    assert (code, {row["status"] for row in results["cells"]}) == (0, {"published"}), results["cells"][0]["why"]
    fresh.check_all_there()


def test_a_server_that_fails_for_good_leaves_no_tag(fresh: _Site) -> None:
    def fault(handler: Any) -> bool:
        if handler.command not in {"PUT", "PATCH", "POST"}:
            return False
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        handler.answer(500, b"")
        return True

    fresh.proxy.fault = fault
    code, results = fresh.run("publish")
    assert (code, {row["status"] for row in results["cells"]}) == (16, {"unknown"})
    assert "HTTP 500" in results["cells"][0]["why"]
    assert fresh.tags() == []
    fresh.check_all_there()


def test_a_write_that_never_ends_is_given_up(fresh: _Site) -> None:
    """The server takes the upload and says nothing; the time-out of versions.yaml is 1 s."""

    def fault(handler: Any) -> bool:
        if handler.command != "PATCH":
            return False
        time.sleep(2.0)
        handler.reset()
        return True

    fresh.proxy.fault = fault
    code, results = fresh.run("publish")
    assert (code, {row["status"] for row in results["cells"]}) == (16, {"unknown"})
    assert fresh.tags() == []
    fresh.check_all_there()


def test_slow_answers_are_waited_for(fresh: _Site) -> None:
    def slow(handler: Any, content: bytes) -> bytes:
        if handler.command in {"PUT", "PATCH"}:
            time.sleep(0.3)
        return content

    fresh.proxy.change_answer = slow
    code, results = fresh.run("publish")
    assert (code, {row["status"] for row in results["cells"]}) == (0, {"published"})
    fresh.check_all_there()


def test_a_server_that_serves_other_content_is_not_believed(fresh: _Site) -> None:
    """What is read back is not what was written: a proxy that changes manifests, or a damaged disk."""

    def change(handler: Any, content: bytes) -> bytes:
        if handler.command == "GET" and "/manifests/" in handler.path and content.startswith(b"{"):
            return content + b" "
        return content

    fresh.proxy.change_answer = change
    code, results = fresh.run("publish")
    assert (code, {row["status"] for row in results["cells"]}) == (16, {"unknown"})
    assert "does not have it" in results["cells"][0]["why"] or "another manifest" in results["cells"][0]["why"]
    assert fresh.tags() == []
    fresh.check_all_there()


def test_tokens_that_expire_in_between_are_renewed(fresh: _Site) -> None:
    fresh.proxy.token_uses = 12  # more than there are threads, which share one
    fresh.proxy.tokens.clear()
    code, results = fresh.run("publish")
    assert (code, {row["status"] for row in results["cells"]}) == (0, {"published"}), [
        row["why"] for row in results["indexes"]
    ]
    assert len(fresh.proxy.tokens) >= 2, "more than one token was needed"
    fresh.check_all_there()


def test_a_tag_that_moves_while_we_publish_is_a_conflict(fresh: _Site) -> None:
    """Somebody else writes the final tag between our look and our write."""
    import httpx

    moved: list[int] = []

    def fault(handler: Any) -> bool:
        tag = handler.path.rpartition("/")[2]
        is_ours = handler.command == "PUT" and "/manifests/sha256:" in handler.path and not moved
        if is_ours and not tag.startswith("sha256-"):
            empty = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
            url = f"http://{fresh.server.host}/v2/faults/run-{fresh.number}/manifests/{name}"
            headers = {"Content-Type": str(empty["mediaType"])}
            done = httpx.put(url, auth=("user", "secret"), content=json.dumps(empty).encode(), headers=headers)
            moved.append(done.status_code)
        return False

    name = fresh.run("plan")[1]["cells"][0]["image"].rpartition(":")[2]
    fresh.proxy.fault = fault
    code, results = fresh.run("publish")
    assert (moved[0], code, results["cells"][0]["status"]) == (201, 16, "conflict")
    assert "a moment ago" in results["cells"][0]["why"]
