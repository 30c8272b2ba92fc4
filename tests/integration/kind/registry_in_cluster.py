"""A registry with TLS and a password in the network of a cluster's nodes, which know its authority."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from programs import need

from integration.kind.api_server import start
from integration.kind.certificates import Authority
from integration.registry_server import HTPASSWD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.kind.cluster import Cluster

_PORT = 5443


@dataclass(kw_only=True)
class Registry:
    """A running registry: its address for everybody in the cluster's network, and what its users need."""

    host: str
    authority: Path
    auth_file: Path
    folder: Path
    held: contextlib.ExitStack
    child: subprocess.Popen[bytes] | None = None

    @property
    def authority_file(self) -> Path:
        return self.authority / "ca.crt"

    def start(self) -> None:
        """Start it, for the first time or after its end, with all that it had."""
        log = self.folder / "registry.log"
        self.child = start(self.held, log, Path(need("docker-registry")), "serve", str(self.folder / "config.yml"))
        _wait(self.host, self.authority_file, log)

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    @property
    def pull_secret(self) -> str:
        return self.auth_file.read_text()


@contextlib.contextmanager
def serve_registry(cluster: Cluster, folder: Path) -> Iterator[Registry]:
    """Run Debian's docker-registry on the address that the nodes' network has for this side."""
    assert cluster.world is not None
    form = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
    address = next(
        word for word in cluster.world.docker("network", "inspect", "kind", "--format", form).split() if "." in word
    )
    host = f"{address}:{_PORT}"
    authority = Authority(folder / "certificates")
    pair = authority.issue("registry", address)
    (folder / "htpasswd").write_text(HTPASSWD)
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host, "tls": {"certificate": str(pair.certificate), "key": str(pair.key)}},
        "auth": {"htpasswd": {"realm": "e2e", "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    auth_file = folder / "auth.json"
    auth_file.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"user:secret").decode()}}}))
    certificates = folder / "trusted"
    certificates.mkdir()
    shutil.copy(authority.file, certificates / "ca.crt")
    with contextlib.ExitStack() as held:
        registry = Registry(host=host, authority=certificates, auth_file=auth_file, folder=folder, held=held)
        registry.start()
        _tell_nodes(cluster, host, authority.file)
        yield registry


def push(registry: Registry, archive: Path, name: str) -> str:
    """Put an image of an archive of docker's into the registry, and return its digest."""
    digest = archive.with_suffix(".digest")
    command = [
        "skopeo",
        "copy",
        "--insecure-policy",
        f"--dest-cert-dir={registry.authority}",
        f"--authfile={registry.auth_file}",
    ]
    command += [f"--digestfile={digest}", f"docker-archive:{archive}", f"docker://{registry.host}/{name}"]
    subprocess.run(command, check=True, capture_output=True)
    return digest.read_text().strip()


def _wait(host: str, authority: Path, log: Path) -> None:
    trust = ssl.create_default_context(cafile=str(authority))
    for _ in range(100):
        with contextlib.suppress(httpx.TransportError):
            assert httpx.get(f"https://{host}/v2/", verify=trust, trust_env=False).status_code == 401
            return
        time.sleep(0.1)
    raise AssertionError(f"the registry does not answer: {log.read_text(errors='replace')[-1000:]}")


def trust_files(host: str, authority: Path) -> dict[str, bytes]:
    """Return the files that let a node's container engine trust a registry, by their place on the node."""
    place = f"etc/containerd/certs.d/{host}"
    text = f'server = "https://{host}"\n[host."https://{host}"]\n  ca = "/{place}/ca.crt"\n'
    return {f"{place}/ca.crt": authority.read_bytes(), f"{place}/hosts.toml": text.encode()}


def _tell_nodes(cluster: Cluster, host: str, authority: Path) -> None:
    assert cluster.world is not None
    for node in cluster.containers:
        for path, content in trust_files(host, authority).items():
            script = f"mkdir -p $(dirname /{path}) && cat > /{path}"
            cluster.world.run("docker", "exec", "-i", node, "sh", "-c", script, input=content.decode())
