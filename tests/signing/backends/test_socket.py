"""Keys that another process serves: the right answer, and everything else that may come back."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from fakes.key_socket import answering, served, short_folder
from fakes.signers import MemoryKey

from builder.errors import SignerError
from builder.signing.backends.key import KeyRequest
from builder.signing.backends.socket import LARGEST_LINE, open_key, read_line

if TYPE_CHECKING:
    import socket
    from pathlib import Path

_DIGEST = hashlib.sha256(b"module").digest()


def _sign(place: Path | str, name: str = "vendor") -> bytes:
    return open_key(KeyRequest(signer=name, way="socket", place=str(place))).sign(_DIGEST, "sha256")


def test_a_signature_comes_back() -> None:
    key = MemoryKey("rsa")
    with served({"vendor": key}, connections=1) as place:
        assert _sign(place) == key.sign(_DIGEST, "sha256")


def test_a_key_that_is_not_served_is_told() -> None:
    with served({"vendor": MemoryKey("rsa")}, connections=1) as place:
        with pytest.raises(SignerError, match="signer other: no key of signer 'other' is served") as caught:
            _sign(place, "other")
        assert caught.value.code == "signer-unknown"


def test_nobody_there_is_told() -> None:
    with short_folder() as folder:
        with pytest.raises(SignerError, match="gives no answer: No such file") as caught:
            _sign(folder / "sock")
        assert "KMODSMITH_KEY_SOCKET" in str(caught.value.hint)


@pytest.mark.parametrize("place", ["/" + "a" * 200, "/a\0b"])
def test_a_path_that_no_socket_can_have_is_told(place: str) -> None:
    with pytest.raises(SignerError, match="at most 107 bytes"):
        _sign(place)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\n", b"half a line", b"[]\n", b"7\n", b"{}\n", b'{"signature": 7}\n', b'{"signature": "zz"}\n', b'{"error": "x"}\n',
        b"[" * 10_000 + b"\n", b"x" * (LARGEST_LINE + 5000) + b"\n",
    ],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_answer_is_a_failure_to_sign(answer: bytes) -> None:
    def script(line: socket.socket) -> None:
        read_line(line)
        line.sendall(answer)

    with answering(script, connections=2) as place, pytest.raises(SignerError, match="signer vendor: ") as caught:
        _sign(place)
    assert caught.value.code == "no-answer"


def test_who_is_gone_for_a_moment_is_asked_again() -> None:
    answers = [b"", b'{"signature": "abcd"}\n']

    def script(line: socket.socket) -> None:
        read_line(line)
        line.sendall(answers.pop(0))

    with answering(script, connections=2) as place:
        assert _sign(place) == bytes.fromhex("abcd")
