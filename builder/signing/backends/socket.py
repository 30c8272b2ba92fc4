"""Keys that another process serves on a Unix socket (``builder.signing.serving``): a sidecar in a pod.

A question is a line of JSON, and so is its answer; each has a connection of its own, so no answer is taken for that to
another.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

from builder.errors import FormatError, SignerError
from builder.foreign import read_json
from builder.signing.backends.key import ANSWER_TIMEOUT_S, NO_ANSWER, ask_twice

if TYPE_CHECKING:
    from typing import Any

    from builder.signing.backends.key import KeyRequest

LARGEST_LINE = 16 * 1024
_LONGEST_PATH = 107  # unix(7), sun_path


def open_key(request: KeyRequest) -> SocketKey:
    """Return the way to a key; SignerError where no socket can have such a name."""
    place = str(request.place)
    if len(place.encode()) > _LONGEST_PATH or "\0" in place:
        raise SignerError(
            NO_ANSWER, f"signer {request.signer}: a socket's path has at most {_LONGEST_PATH} bytes: {place[:200]}"
        )
    return SocketKey(request.signer, place)


class SocketKey:
    """Signs by asking the socket; safe to use from several threads."""

    def __init__(self, name: str, place: str) -> None:
        self._name, self._place = name, place

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        return ask_twice(lambda: self._ask(digest, algorithm))

    def _ask(self, digest: bytes, algorithm: str) -> bytes:
        question = {"signer": self._name, "digest": digest.hex(), "algorithm": algorithm}
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(ANSWER_TIMEOUT_S)
                line.connect(self._place)
                line.sendall(json.dumps(question).encode() + b"\n")
                answer = read_line(line)
        except OSError as error:
            why = error.strerror or str(error)
            raise SignerError(
                NO_ANSWER, f"signer {self._name}: who serves keys at {self._place} gives no answer: {why}",
                hint="'python -m builder keys serve' is that process; KMODSMITH_KEY_SOCKET says where it is",
            ) from None  # fmt: skip
        return self._read(answer)

    def _read(self, content: bytes) -> bytes:
        try:
            answer: dict[str, Any] = read_json(content, "its answer", largest=LARGEST_LINE)
            if "error" in answer:
                raise SignerError(str(answer["error"])[:100], f"signer {self._name}: {str(answer['message'])[:1000]}")
            return bytes.fromhex(answer["signature"])
        except (FormatError, KeyError, TypeError, ValueError) as error:
            why = error.message if isinstance(error, FormatError) else repr(error)
            raise SignerError(NO_ANSWER, f"signer {self._name}: {self._place}: {why[:300]}") from None


def read_line(line: socket.socket) -> bytes:
    """Return the one line that the other side sends.

    Raises:
        OSError: it sends nothing in time, ends before its line does, or sends more than a line may have.
    """
    content = b""
    while not content.endswith(b"\n"):
        piece = line.recv(4096)
        content += piece
        if not piece:
            raise OSError("it ended in the middle of a line")
        if len(content) > LARGEST_LINE:
            raise OSError(f"a line has more than {LARGEST_LINE} bytes")
    return content
