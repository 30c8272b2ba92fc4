"""A real registry server with a password: Debian's docker-registry, in a container where there is an engine for it."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from programs import need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.openshift_world import World

# user:secret; bcrypt is the only form that the server takes.
HTPASSWD = "user:$2b$04$hZznbqOhG4hQ5/6GAZzaNuiIIm4GkrDp6Lz4iFVWpPYI/ZF39g2Me\n"
_IMAGE = "kmodsmith-test-registry:1"


@dataclass(frozen=True)
class RegistryServer:
    """A running server; ``kind`` says what runs it."""

    host: str
    kind: str

    def auth_file(self, folder: Path, secret: str = "user:secret") -> Path:
        file = folder / f"auth-{secret.partition(':')[2]}.json"
        encoded = base64.b64encode(secret.encode()).decode()
        file.write_text(json.dumps({"auths": {self.host: {"auth": encoded}}}))
        return file

    def upload(self, world: World) -> None:
        """Put blobs and manifests of a world into the server, as any client would."""
        with httpx.Client(base_url=f"http://{self.host}/v2/", auth=("user", "secret"), timeout=60.0) as client:
            for (repository, _), (_, content) in world.manifests.items():
                data = json.loads(content)
                for entry in [data["config"], *data["layers"]] if "layers" in data else []:
                    self._upload_blob(client, repository, entry["digest"], world.blobs[entry["digest"]])
            # Lists come after what they name.
            for (repository, reference), (media_type, content) in sorted(
                world.manifests.items(), key=lambda item: "manifest.list" in item[1][0]
            ):
                if reference:
                    headers = {"Content-Type": media_type}
                    answer = client.put(f"{repository}/manifests/{reference}", content=content, headers=headers)
                    assert answer.status_code == 201, answer.text

    @staticmethod
    def _upload_blob(client: httpx.Client, repository: str, digest: str, content: bytes) -> None:
        if client.head(f"{repository}/blobs/{digest}").status_code == 200:
            return
        begun = client.post(f"{repository}/blobs/uploads/")
        place = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": digest})
        answer = client.put(place, content=content, headers={"Content-Type": "application/octet-stream"})
        assert answer.status_code == 201, answer.text


@contextlib.contextmanager
def serve_registry(folder: Path) -> Iterator[RegistryServer]:
    """Run a server on a free port of this machine; needs Debian's docker-registry."""
    program = need("docker-registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "htpasswd").write_text(HTPASSWD)
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": host},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    with contextlib.ExitStack() as held:
        if _has_engine():
            _start_container(program, folder, held)
        else:
            _start_process(program, folder, held)
        _wait(host)
        yield RegistryServer(host, "container" if _has_engine() else "process")


def _has_engine() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], check=False, capture_output=True).returncode == 0


def _start_process(program: str, folder: Path, held: contextlib.ExitStack) -> None:
    log = held.enter_context((folder / "log").open("wb"))
    server = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    held.callback(server.wait)
    held.callback(server.terminate)


def _start_container(program: str, folder: Path, held: contextlib.ExitStack) -> None:
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # no image for it without a registry to pull from
    from testcontainers.core.container import DockerContainer

    subprocess.run(["docker", "import", "-", _IMAGE], input=_pack(program), check=True, capture_output=True)
    container = DockerContainer(_IMAGE).with_kwargs(network_mode="host").with_volume_mapping(folder, str(folder), "rw")
    container.with_command([program, "serve", str(folder / "config.yml")])
    held.enter_context(container)


def _pack(program: str) -> bytes:
    """Return a program and the libraries that it is linked with as an archive: there is nowhere to pull an image from."""
    listing = subprocess.run(["ldd", program], check=False, capture_output=True, text=True).stdout
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", dereference=True) as archive:
        for name in [program, *re.findall(r"(/\S+) \(0x", listing)]:
            archive.add(name)
    return data.getvalue()


def _wait(host: str) -> None:
    for _ in range(100):
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://{host}/v2/")
            return
        time.sleep(0.1)
    pytest.fail("the registry server does not answer")
