"""Reading a real registry server (Debian's docker-registry), with a password, what buildah pushed to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from builder.errors import SourceError, SourceGoneError
from builder.pullspec import parse_pullspec
from builder.registry.credentials import Credentials
from builder.registry.reader import Registry
from builder.registry.transport import Connection, Transport
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with serve_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def test_reads_one_file_of_a_pushed_image(machine: Machine, server: RegistryServer, tmp_path: Path) -> None:
    (tmp_path / "release").write_text('{"KERNEL_VERSION": "x"}')
    (tmp_path / "Containerfile").write_text("FROM scratch\nCOPY release /etc/driver-toolkit-release.json\n")
    machine.buildah("build", "--isolation", "chroot", "--tag", "localhost/toolkit:1", str(tmp_path))
    auth = server.auth_file(tmp_path)
    to = f"{server.host}/org/toolkit:1"
    machine.buildah("push", "--tls-verify=false", "--authfile", str(auth), "localhost/toolkit:1", f"docker://{to}")
    plain = Connection(plain_http=frozenset({server.host}))
    registry = Registry(Transport(Credentials([auth]), plain), tmp_path / "cache")
    manifest = registry.manifest(parse_pullspec(to))
    pinned = parse_pullspec(f"{server.host}/org/toolkit@{manifest.digest}")
    found = registry.files(pinned, manifest.layers[-1], {"etc/driver-toolkit-release.json"}, largest_layer=10**6)
    assert found == {"etc/driver-toolkit-release.json": b'{"KERNEL_VERSION": "x"}'}
    assert manifest.config is not None
    assert json.loads(registry.blob(pinned, manifest.config))["os"] == "linux"
    with pytest.raises(SourceGoneError, match="does not exist"):
        registry.manifest(parse_pullspec(f"{server.host}/org/toolkit:2"))
    wrong = Registry(Transport(Credentials([server.auth_file(tmp_path, "user:wrong")]), plain), tmp_path / "c")
    with pytest.raises(SourceError, match="refuses access") as caught:
        wrong.manifest(parse_pullspec(to))
    assert "is wrong" in (caught.value.hint or "")
    assert "wrong:" not in f"{caught.value.message}{caught.value.hint}"
