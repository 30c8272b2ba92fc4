"""Stands in for the kernel that loads modules: who is asked to load what is written down, and held until it may go on.

Nodes of kind share this machine's kernel, and many take no modules. KMM's worker calls the program ``modprobe``; here
that is a script which tells a server in the nodes' network, and ends as it answers.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE_S = 240.0
_SCRIPT = """#!/bin/bash
exec 3<>/dev/tcp/{address}/{port} || exit 3
printf '%s %s\\n' "$HOSTNAME" "$*" >&3
read -r answer <&3 && echo "$answer" && [ "$answer" = done ]
"""


@dataclass
class Recorder:
    """What ``modprobe`` was asked for, and by which pod; a call is written down when it ends well."""

    address: str = ""
    port: int = 0
    begun: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    unloads: list[str] = field(default_factory=list)
    refused: int = 0
    """So many calls are to end badly."""
    gate: threading.Event = field(default_factory=threading.Event)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def write_script(self, file: Path) -> Path:
        file.write_text(_SCRIPT.format(address=self.address, port=self.port))
        file.chmod(0o755)
        return file

    def answer(self, line: str) -> str:
        pod, _, words = line.strip().partition(" ")
        with self._guard:
            self.begun.append(pod)
        if not self.gate.wait(_PATIENCE_S):
            return "late"
        with self._guard:
            if self.refused:
                self.refused -= 1
                return "refused"
            (self.unloads if words.startswith("-r") else self.loads).append(pod)
            return "done"


@contextlib.contextmanager
def serve_recorder(address: str) -> Iterator[Recorder]:
    """Listen on an address of the nodes' network until the end of the block."""
    recorder = Recorder(address=address)
    recorder.gate.set()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            said = recorder.answer(self.rfile.readline().decode(errors="replace"))
            with contextlib.suppress(OSError):  # who asked may be gone
                self.wfile.write(f"{said}\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server((address, 0), Handler) as server:
        recorder.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield recorder
        finally:
            server.shutdown()
