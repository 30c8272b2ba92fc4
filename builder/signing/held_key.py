"""A key that a process of its own holds (``builder.signing.holder``), seen from the build."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Any

from builder.errors import CommandError, FormatError, KmodsmithError, SignerError
from builder.foreign import read_json
from builder.host.run import Command, Service
from builder.signing.backends.key import ANSWER_TIMEOUT_S, NO_ANSWER, ask_twice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.signing.backends.key import KeyRequest


class HeldKey:
    """The way to the key of a process; safe to use from several threads.

    A process that answers late is ended: its answer would be taken for that to the next question.
    """

    def __init__(self, request: KeyRequest) -> None:
        self._name = request.signer
        self._request = request.words()
        argv = (sys.executable, "-I", "-m", "builder.signing.holder")
        self._command = Command(argv=argv, environment=request.environment, timeout_s=ANSWER_TIMEOUT_S)
        self._guard = threading.Lock()
        self._asked = 0
        self._service: Service | None = None
        self._open()

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        with self._guard:
            return ask_twice(lambda: self._sign({"digest": digest.hex(), "algorithm": algorithm}))

    def close(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None

    def _sign(self, question: Mapping[str, str]) -> bytes:
        service = self._service or self._open()
        return bytes.fromhex(self._ask(service, question)["signature"])

    def _open(self) -> Service:
        self._service = Service(self._command, f"the process that holds the key of signer {self._name}")
        try:
            self._ask(self._service, self._request)
        except SignerError:
            self.close()
            raise
        return self._service

    def _ask(self, service: Service, question: Mapping[str, str]) -> dict[str, Any]:
        self._asked += 1
        number = self._asked
        try:
            answer = read_json(service.ask(json.dumps({**question, "number": number})), "its answer")
            if answer["number"] != number:
                raise ValueError(f"question {number} got the answer to {answer['number']}")  # noqa: TRY301 - all alike
        except (CommandError, FormatError, ValueError, KeyError, TypeError) as error:
            service.kill()
            self._service = None
            why = error.message if isinstance(error, KmodsmithError) else repr(error)
            raise SignerError(NO_ANSWER, f"signer {self._name}: {why}") from None
        if "error" in answer:
            raise SignerError(answer["error"], f"signer {self._name}: {answer['message']}", hint=answer["hint"] or None)
        return dict(answer)
