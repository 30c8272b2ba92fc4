"""A proxy before the real API server that does what networks and servers do wrong; watches go through it."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import yaml

from integration.faulty_proxy import FaultyProxy, _Handler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from integration.kind.api_server import ApiServer


class ApiProxy(FaultyProxy):
    """Passes requests on as the server's administrator.

    Attributes:
        status: asked before each request, with method and path with its query; a number is the answer.
        is_deaf: nothing is answered at all.
    """

    def __init__(self, api: ApiServer) -> None:
        super().__init__(urlsplit(str(api.client.http.base_url)).netloc)
        self.RequestHandlerClass = _ApiHandler
        config = yaml.safe_load(api.kubeconfig.read_text())
        (user,) = config["users"]
        self.trust = ssl.create_default_context(cafile=config["clusters"][0]["cluster"]["certificate-authority"])
        self.trust.load_cert_chain(user["user"]["client-certificate"], user["user"]["client-key"])
        self.status: Callable[[str, str], int] = lambda _method, _path: 0
        self.is_deaf = threading.Event()
        self.silenced: set[int] = set()
        self.streams: set[int] = set()

    def silence(self) -> None:
        """Let the watches that are open say nothing from now on, without an end; new ones are answered."""
        self.silenced |= self.streams

    def kubeconfig(self, file: Path) -> Path:
        """Write what a program needs to come this way."""
        data = {
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://{self.host}"}}],
            "users": [{"name": "proxy", "user": {}}],
        }  # fmt: skip
        file.write_text(yaml.safe_dump(data))
        return file


class _ApiHandler(_Handler):
    server: ApiProxy

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        while self.server.is_deaf.is_set():
            time.sleep(0.1)
        if status := self.server.status(self.command, self.path):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = {"kind": "Status", "code": status, "message": "the test says so", "reason": "Test"}
            self.answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})
            return
        if parse_qs(parts.query).get("watch") == ["true"]:
            self._stream()
        else:
            self._pass_whole()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - http.server's names

    def _upstream(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(self.server.upstream, context=self.server.trust, timeout=300)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        dropped = {"host", "connection", "accept-encoding", "content-length"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        connection.request(self.command, self.path, body=content or None, headers=headers)
        return connection

    def _pass_whole(self) -> None:
        with contextlib.closing(self._upstream()) as upstream:
            found = upstream.getresponse()
            body = found.read()
            kept = {
                name: value for name, value in found.getheaders() if name.lower() in {"content-type", "retry-after"}
            }
            self.answer(found.status, body, kept)

    def _stream(self) -> None:
        with contextlib.closing(self._upstream()) as upstream:
            found = upstream.getresponse()
            me = threading.get_ident()
            self.server.streams.add(me)
            self.send_response(found.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                while line := found.readline():
                    while me in self.server.silenced:
                        time.sleep(0.1)
                        self._end_with_client()
                    self.wfile.write(line)
            finally:
                self.server.streams.discard(me)
                self.server.silenced.discard(me)

    def _end_with_client(self) -> None:
        """End where the client has gone away, which it does when it hears nothing."""
        self.connection.setblocking(False)
        try:
            if self.connection.recv(1) == b"":
                raise ConnectionResetError
        except BlockingIOError:
            pass
        finally:
            self.connection.setblocking(True)


@contextlib.contextmanager
def serve_proxy(api: ApiServer) -> Iterator[ApiProxy]:
    """Have a proxy until the end of the block."""
    proxy = ApiProxy(api)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.is_deaf.clear()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
