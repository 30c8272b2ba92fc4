"""A program that signs elsewhere."""

from __future__ import annotations

import base64
import hashlib
import signal
from typing import TYPE_CHECKING

import pytest
from fakes.signers import MemoryKey

from builder.errors import SignerError
from builder.signing.backends.command import CommandKey
from builder.signing.backends.key import KeyRequest

if TYPE_CHECKING:
    from fakes.tools import FakeTools


def _command_key(*argv: str) -> CommandKey:
    return CommandKey(KeyRequest(signer="release", way="command", place=argv))


def test_a_program_signs_digests(fake_tools: FakeTools) -> None:
    digest = hashlib.sha256(b"x").digest()
    signature = MemoryKey("rsa").sign(digest, "sha256")
    fake_tools.add("kms", f'cat >"{fake_tools.folder}/stdin"; echo {base64.b64encode(signature).decode()}')
    key = _command_key("kms", "--hash", "{algorithm}")
    assert key.sign(digest, "sha256") == signature
    assert (fake_tools.folder / "stdin").read_bytes() == digest
    assert fake_tools.calls("kms") == [["--hash", "sha256"]]


def test_a_program_that_is_late_is_asked_once_more(fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.signing.backends.command.ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr("builder.host.run._STOP_STEPS", ((signal.SIGKILL, 5.0),))
    fake_tools.add("kms", '[ -f "$0.late" ] || { touch "$0.late"; sleep 5; }; echo AAAA')
    assert _command_key("kms").sign(b"x" * 32, "sha256") == bytes(3)
    fake_tools.add("kms", "sleep 5")
    with pytest.raises(SignerError, match="took longer than") as caught:
        _command_key("kms").sign(b"x" * 32, "sha256")
    assert caught.value.code == "no-answer"


@pytest.mark.parametrize(
    ("script", "words"),
    [("echo no access >&2; exit 4", "exit code 4: no access"), ("echo '***'", "did not print base64")],
)
def test_a_program_that_fails(fake_tools: FakeTools, script: str, words: str) -> None:
    fake_tools.add("kms", script)
    with pytest.raises(SignerError, match=words):
        _command_key("kms").sign(b"x" * 32, "sha256")
