"""Keys that a program of the user's reaches: a cloud KMS, a signing host."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from builder.errors import SignerError
from builder.host.run import Command, run
from builder.signing.backends.key import ANSWER_TIMEOUT_S, NO_ANSWER, ask_twice

if TYPE_CHECKING:
    from builder.signing.backends.key import KeyRequest


def open_key(request: KeyRequest) -> CommandKey:
    return CommandKey(request)


class CommandKey:
    """Signs by a program that gets a digest and prints a signature; it is started for each."""

    def __init__(self, request: KeyRequest) -> None:
        self._name = request.signer
        self._argv = request.place
        self._environment = request.environment

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        return ask_twice(lambda: self._run(digest, algorithm))

    def _run(self, digest: bytes, algorithm: str) -> bytes:
        argv = tuple(word.replace("{algorithm}", algorithm) for word in self._argv)
        outcome = run(Command(argv=argv, environment=self._environment, input=digest, timeout_s=ANSWER_TIMEOUT_S))
        if not outcome:
            code = NO_ANSWER if outcome.timed_out else "command-failed"
            reason = outcome.stderr.strip().splitlines()[-1:] or ["it printed no reason"]
            raise SignerError(code, f"signer {self._name}: {argv[0]} {outcome.explain()}: {reason[0]}")
        try:
            return base64.b64decode("".join(outcome.stdout.split()), validate=True)
        except (binascii.Error, ValueError):
            raise SignerError("command-failed", f"signer {self._name}: {argv[0]} did not print base64") from None
