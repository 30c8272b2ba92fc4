"""What a cluster asks: /metrics, /healthz (is it alive?), /readyz (does it do its work?)."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_JSON = ("Content-Type", "application/json")
_STALLED_S = 10.0
_POLL_S = 0.1  # how long the end may wait


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Whether all is well, and the sentence that goes with it."""

    well: bool
    words: str


def make_application(
    registry: CollectorRegistry, *, is_alive: Callable[[], Answer], is_ready: Callable[[], Answer]
) -> WSGIApplication:
    """Return what answers."""
    metrics = make_wsgi_app(registry)

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environment.get("PATH_INFO")
        if path == "/metrics":
            return metrics(environment, start)  # type: ignore[no-any-return]
        asked = {"/healthz": is_alive, "/readyz": is_ready}.get(str(path))
        if asked is None:
            start("404 Not Found", [_JSON])
            return [b'{"message": "there are /metrics, /healthz and /readyz"}\n']
        found = asked()
        # A list of its own for each answer: the server adds the length of this one to it.
        start("200 OK" if found.well else "503 Service Unavailable", [_JSON])
        return [json.dumps({"well": found.well, "message": found.words}).encode() + b"\n"]

    return answer


@contextmanager
def serve_status(
    port: int, registry: CollectorRegistry, *, is_alive: Callable[[], Answer], is_ready: Callable[[], Answer]
) -> Iterator[int]:
    """Serve on a port of all addresses until the end of the block; gives the port, which 0 lets the kernel choose.

    Raises:
        OSError: the port is taken.
    """
    answer = make_application(registry, is_alive=is_alive, is_ready=is_ready)
    with make_server("", port, answer, server_class=_Server, handler_class=_Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Its own 5 let a probe beside a few who connect at once wait a second for its second try.
    request_queue_size = 64

    def server_bind(self) -> None:
        """Bind, and ask no name server for our own name, which may answer late or never."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]
        self.setup_environ()

    def handle_error(self, *_arguments: Any) -> None:
        """Say nothing of who went away, or said nothing: that is their business."""


class _Handler(WSGIRequestHandler):
    timeout = _STALLED_S  # who connects and says nothing holds a thread no longer

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing: probes ask every few seconds."""

    def address_string(self) -> str:
        return str(self.client_address[0])  # no name server is asked who asks
