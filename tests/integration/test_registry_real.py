"""Reading a real registry server (Debian's docker-registry), with a password, what buildah pushed to it."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from builder.errors import SourceError, SourceGoneError
from builder.pullspec import parse_pullspec
from builder.registry import Credentials, Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah]

# user:secret; bcrypt is the only form that the server takes.
_HTPASSWD = "user:$2b$04$hZznbqOhG4hQ5/6GAZzaNuiIIm4GkrDp6Lz4iFVWpPYI/ZF39g2Me\n"


@pytest.fixture(scope="module")
def registry_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "htpasswd").write_text(_HTPASSWD)
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        for _ in range(100):
            try:
                httpx.get(f"http://127.0.0.1:{port}/v2/")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _auth_file(folder: Path, host: str, secret: str = "user:secret") -> Path:
    file = folder / "auth.json"
    file.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(secret.encode()).decode()}}}))
    return file


def test_reads_one_file_of_a_pushed_image(machine: Machine, registry_host: str, tmp_path: Path) -> None:
    (tmp_path / "release").write_text('{"KERNEL_VERSION": "x"}')
    (tmp_path / "Containerfile").write_text("FROM scratch\nCOPY release /etc/driver-toolkit-release.json\n")
    machine.buildah("build", "--isolation", "chroot", "--tag", "localhost/toolkit:1", str(tmp_path))
    auth = _auth_file(tmp_path, registry_host)
    to = f"{registry_host}/org/toolkit:1"
    machine.buildah("push", "--tls-verify=false", "--authfile", str(auth), "localhost/toolkit:1", f"docker://{to}")
    registry = Registry(Credentials([auth]), tmp_path / "cache", plain_http=[registry_host])
    manifest = registry.manifest(parse_pullspec(to))
    pinned = parse_pullspec(f"{registry_host}/org/toolkit@{manifest.digest}")
    found = registry.files(pinned, manifest.layers[-1], {"etc/driver-toolkit-release.json"}, largest_layer=10**6)
    assert found == {"etc/driver-toolkit-release.json": b'{"KERNEL_VERSION": "x"}'}
    assert manifest.config is not None
    assert json.loads(registry.blob(pinned, manifest.config))["os"] == "linux"
    with pytest.raises(SourceGoneError, match="does not exist"):
        registry.manifest(parse_pullspec(f"{registry_host}/org/toolkit:2"))
    wrong = Registry(
        Credentials([_auth_file(tmp_path, registry_host, "user:wrong")]), tmp_path / "c", plain_http=[registry_host]
    )
    with pytest.raises(SourceError, match="refuses access") as caught:
        wrong.manifest(parse_pullspec(to))
    assert "is wrong" in (caught.value.hint or "")
    assert "wrong:" not in f"{caught.value.message}{caught.value.hint}"
