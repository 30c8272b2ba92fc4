"""Keys on a Unix socket, in a folder whose name is short enough for one; the server is a thread of this process."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from builder.signing.serving import KeyServer, ServeBounds, open_socket, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from builder.signing.backends.key import Key

ME = os.getuid()


@contextmanager
def short_folder() -> Iterator[Path]:
    """Give a folder for sockets: pytest's own are longer than the path of a socket may be."""
    with tempfile.TemporaryDirectory(prefix="kms-") as folder:
        yield Path(folder)


@contextmanager
def served(keys: dict[str, Key], *, connections: int, users: frozenset[int] = frozenset({ME})) -> Iterator[Path]:
    """Serve keys for so many connections, no more and no less."""
    told: list[dict[str, object]] = []
    server = KeyServer(keys, users, bounds=ServeBounds(), tell=told.append)
    with short_folder() as folder, open_socket(folder / "sock", is_shared=False) as listener:
        thread = threading.Thread(target=lambda: serve(listener, server, most=connections))
        thread.start()
        yield folder / "sock"
        thread.join()


@contextmanager
def answering(script: Callable[[socket.socket], None], *, connections: int) -> Iterator[Path]:
    """Answer so many connections as ``script`` does."""
    with short_folder() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "sock"))
        listener.listen()

        def run() -> None:
            for _ in range(connections):
                line, _ = listener.accept()
                with line:
                    script(line)

        thread = threading.Thread(target=run)
        thread.start()
        yield folder / "sock"
        thread.join()
