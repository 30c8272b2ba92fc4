"""What pods reach besides the registry: Debian's archive, which only the world around the cluster reaches, and a repository.

The archive is passed on file by file; packages, which never change, are kept. The repository is served by git's own
program, as a forge does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from programs import need

from integration.kind.make import cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.kind.cluster import Cluster

ARCHIVE = "http://deb.debian.org"
_PORT = 5480
_KEPT = (".deb",)
_FETCH = """
import shutil, sys, urllib.error, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=60) as answer, open(sys.argv[2], "wb") as file:
        shutil.copyfileobj(answer, file)
except urllib.error.HTTPError as error:
    sys.exit(4 if error.code == 404 else 5)
"""
_ABSENT = 4


@dataclass(frozen=True, kw_only=True)
class Served:
    """What is served, and where: ``repository`` is bare, and whoever pushes into it by its path is heard at once."""

    address: str
    repository: Path

    @property
    def archive(self) -> str:
        """What stands for the archive's address."""
        return self.address

    @property
    def source(self) -> str:
        return f"{self.address}/git/{self.repository.name}"


@contextlib.contextmanager
def serve(cluster: Cluster, address: str, folder: Path) -> Iterator[Served]:
    """Serve on an address of the nodes' network until the end of the block."""
    assert cluster.world is not None
    repository = folder / "project.git"
    subprocess.run([need("git"), "init", "--quiet", "--bare", str(repository)], check=True)
    subprocess.run(["git", "-C", str(repository), "config", "uploadpack.allowAnySHA1InWant", "true"], check=True)
    kept = cache_dir() / "archive"
    kept.mkdir(parents=True, exist_ok=True)
    server = _Server((address, _PORT), _Handler)
    server.beyond, server.kept, server.folder = cluster.world.beyond(), kept, folder
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Served(address=f"http://{address}:{_PORT}", repository=repository)
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    """Attributes: words before a command that needs the archive, where packages are kept, where repositories are."""

    beyond: tuple[str, ...]
    kept: Path
    folder: Path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        if self.path.startswith("/git/"):
            self._ask_git(b"")
        else:
            self._pass_on()

    def do_POST(self) -> None:
        self._ask_git(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - its signature
        with (self.server.folder / "served.log").open("a") as log:
            log.write(f"{self.client_address[0]} {format % words}\n")

    def _pass_on(self) -> None:
        file = self.server.kept / hashlib.sha256(self.path.encode()).hexdigest()
        if file.is_file():
            self._send(file)
            return
        part = file.with_name(f".{file.name}.{threading.get_ident()}.{os.getpid()}")
        fetch = [*self.server.beyond, sys.executable, "-c", _FETCH, f"{ARCHIVE}{self.path}", str(part)]
        done = subprocess.run(fetch, check=False)
        if done.returncode:
            self._answer(404 if done.returncode == _ABSENT else 502, b"")
        elif self.path.endswith(_KEPT):
            self._send(part.rename(file))
        else:
            self._send(part)
        part.unlink(missing_ok=True)

    def _send(self, file: Path) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(file.stat().st_size))
        self.end_headers()
        with file.open("rb") as stream:
            shutil.copyfileobj(stream, self.wfile)

    def _ask_git(self, body: bytes) -> None:
        asked = urlsplit(self.path)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": asked.path.removeprefix("/git"),
            "QUERY_STRING": asked.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self._answer(int(fields.pop("Status", "200").split()[0]), content, fields)

    def _answer(self, status: int, content: bytes, fields: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (fields or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
