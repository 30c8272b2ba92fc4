"""The process that holds a private key: it gets digests on stdin and prints signatures, a JSON line for each.

Each question has a number, and its answer carries the same.

It is a process of its own so that the build, which reads images, ELF files and build logs of others, never has the
key in its memory. It leaves no core behind and cannot be traced by another user. First line: where the key is.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import resource
import sys
from typing import TYPE_CHECKING

from builder.errors import SignerError
from builder.signing.backends.key import KeyRequest
from builder.signing.backends.table import choose_backend

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO, Any

    from builder.signing.backends.key import Key

_PR_SET_DUMPABLE = 4  # prctl(2)


def main() -> None:
    """Serve until stdin ends."""
    leave_no_traces()
    serve(sys.stdin, sys.stdout)


def leave_no_traces() -> None:
    """Forbid core dumps, tracing and reading of this process's memory by others."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def serve(questions: IO[str], answers: IO[str]) -> None:
    """Answer each line with the number of its question; an error is an answer, too. The first line opens the key."""
    key: Key | None = None
    for line in questions:
        question = json.loads(line)
        try:
            if key is None:
                key, reply = _open_key(question), {"ready": "yes"}
            else:
                reply = {"signature": key.sign(bytes.fromhex(question["digest"]), question["algorithm"]).hex()}
        except SignerError as error:
            reply = {"error": error.code, "message": error.message, "hint": error.hint or ""}
        answers.write(json.dumps({**reply, "number": question.get("number")}) + "\n")
        answers.flush()
        if key is None:
            return


def _open_key(question: Mapping[str, Any]) -> Key:
    request = KeyRequest.of_words(question)
    return choose_backend(request.way, request.content).open(request)


if __name__ == "__main__":
    main()
