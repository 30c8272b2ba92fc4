"""The process that holds a key, in this one; and key files."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from builder.signing.backends.key import KeyRequest
from builder.signing.holder import serve
from fakes.signers import KEYS

if TYPE_CHECKING:
    from pathlib import Path


def ask_holder(
    way: str, place: str, *digests: bytes, passphrase: str | None = None, passphrase_file: str = ""
) -> list[dict[str, str]]:
    request = KeyRequest(signer="release", way=way, place=place, passphrase=passphrase, passphrase_file=passphrase_file)
    questions = [request.words(), *({"digest": digest.hex(), "algorithm": "sha256"} for digest in digests)]
    lines = [{**question, "number": number} for number, question in enumerate(questions)]
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(line) + "\n" for line in lines)), answers)
    replies = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert [reply.pop("number") for reply in replies] == list(range(len(replies)))
    return replies


def write_key(file: Path, kind: str = "rsa", passphrase: bytes | None = None, mode: int = 0o600) -> Path:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    file.write_bytes(
        KEYS[kind].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    file.chmod(mode)
    return file
