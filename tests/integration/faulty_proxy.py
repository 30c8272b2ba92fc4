"""A proxy before a real registry that does what networks and servers do wrong, one kind of fault at a time."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import random
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BASIC = "Basic " + base64.b64encode(b"user:secret").decode()


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on to ``upstream``; ``fault`` is asked before each, and may answer it itself.

    It asks for tokens that expire after ``token_uses`` requests where that is set, as registries in the cloud do after
    minutes: by a clock, a slow machine's token would be stale before its first use.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.fault: Callable[[_Handler], bool] = lambda _: False
        self.change_answer: Callable[[_Handler, bytes], bytes] = lambda _, content: content
        self.token_uses = 0
        self.tokens: dict[str, int] = {}
        self.lock = threading.Lock()
        self.faults = 0
        self.requests: list[str] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: broken connections are the purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        server = self.server
        server.requests.append(f"{self.command} {self.path}")
        parts = urlsplit(self.path)
        if parts.path == "/token":
            self._give_token(parse_qs(parts.query))
            return
        if server.fault(self):
            server.faults += 1
            return
        if server.token_uses and not self._has_token():
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            challenge = f'Bearer realm="http://{server.host}/token",service="test"'
            self.answer(401, b"", {"WWW-Authenticate": challenge})
            return
        self._pass_on()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - http.server's names

    def _give_token(self, _: dict[str, list[str]]) -> None:
        if self.headers.get("Authorization") != _BASIC:
            self.answer(401, b"")
            return
        token = f"token-{random.getrandbits(64):x}"
        self.server.tokens[token] = self.server.token_uses
        self.answer(200, json.dumps({"token": token}).encode())

    def _has_token(self) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        with self.server.lock:
            left = self.server.tokens.get(token, 0)
            if left:
                self.server.tokens[token] = left - 1
        return left > 0

    def _pass_on(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}}
        if self.server.token_uses:
            headers["Authorization"] = _BASIC
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        with contextlib.closing(upstream):
            upstream.request(self.command, self.path, body=content or None, headers=headers)
            found = upstream.getresponse()
            body = found.read()
            kept = {"content-type", "docker-content-digest", "range", "www-authenticate", "link"}
            passed = {name: value for name, value in found.getheaders() if name.lower() in kept}
            if place := found.getheader("Location"):
                passed["Location"] = place.replace(self.server.upstream, self.server.host)
            if self.command == "HEAD" and (length := found.getheader("Content-Length")):
                passed["Content-Length"] = length
            self.answer(found.status, self.server.change_answer(self, body), passed)

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        given = {"Content-Length": str(len(content))} | (headers or {})
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def reset(self) -> None:
        """Break the connection so that the other side gets a reset."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True


@contextlib.contextmanager
def serve_faults(upstream: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(upstream)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
