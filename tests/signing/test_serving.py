"""Serving keys: who may ask, how much, and that nothing but signatures comes out."""

from __future__ import annotations

import hashlib
import json
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from fakes.key_socket import ME, served, short_folder
from fakes.signers import KEYS, MemoryKey

from builder.errors import BusyError, HostError
from builder.signing.backends.key import KeyRequest
from builder.signing.backends.socket import open_key
from builder.signing.serving import KeyServer, ServeBounds, open_socket

_DIGEST = hashlib.sha256(b"module").hexdigest()


def _server(
    told: list[dict[str, object]] | None = None, *, users: frozenset[int] = frozenset({ME}), **more: Any
) -> KeyServer:
    bounds = ServeBounds(**more.pop("bounds", {}))
    tell = (told if told is not None else []).append
    return KeyServer({"vendor": MemoryKey("rsa")}, users, bounds=bounds, tell=tell, **more)


def _question(**changes: Any) -> bytes:
    return json.dumps({"signer": "vendor", "digest": _DIGEST, "algorithm": "sha256", **changes}).encode()


def test_a_digest_is_signed_and_told() -> None:
    told: list[dict[str, object]] = []
    answer = json.loads(_server(told).answer(_question(), ME))
    assert bytes.fromhex(answer["signature"]) == MemoryKey("rsa").sign(bytes.fromhex(_DIGEST), "sha256")
    assert told == [{"signed": f"sha256:{_DIGEST}", "signer": "vendor", "user": ME}]


@pytest.mark.parametrize(
    ("question", "code"),
    [
        (b"", "question-wrong"),
        (b"[]", "question-wrong"),
        (b"{" * 5000, "question-wrong"),
        (b"x" * 20_000, "question-wrong"),
        (_question(digest=7), "question-wrong"),
        (_question(digest="zz"), "question-wrong"),
        (_question(digest="aa"), "question-wrong"),
        (_question(digest="aa" * 1000), "question-wrong"),
        (_question(algorithm="md5"), "question-wrong"),
        (_question(algorithm="sha512"), "question-wrong"),
        (_question(algorithm=["sha256"]), "question-wrong"),
        (_question(signer=None), "question-wrong"),
        (b'{"signer": "vendor", "signer": "other", "digest": "", "algorithm": "sha256"}', "question-wrong"),
        (_question(signer="other"), "signer-unknown"),
        (_question(signer="../vendor"), "signer-unknown"),
    ],
    ids=range(15),
)
def test_what_is_no_question_gets_no_signature(question: bytes, code: str) -> None:
    told: list[dict[str, object]] = []
    answer = json.loads(_server(told).answer(question, ME))
    assert (answer["error"], "signature" in answer) == (code, False)
    assert told[0]["refused"] == code


def test_who_was_not_named_gets_nothing() -> None:
    """Not even whether there is such a signer."""
    server = _server(users=frozenset({ME + 1}))
    for name in ("vendor", "other"):
        assert json.loads(server.answer(_question(signer=name), ME))["error"] == "user-refused"


def test_so_much_is_signed_and_no_more() -> None:
    server = _server(bounds={"most": 3})
    codes = [json.loads(server.answer(_question(), ME)).get("error") for _ in range(5)]
    assert codes == [None, None, None, "too-many", "too-many"]


def test_so_fast_and_no_faster() -> None:
    now = 100.0
    server = _server(bounds={"at_once": 2, "per_s": 0.5}, clock=lambda: now)
    assert [json.loads(server.answer(_question(), ME)).get("error") for _ in range(3)] == [None, None, "too-fast"]
    now += 2.0
    assert [json.loads(server.answer(_question(), ME)).get("error") for _ in range(2)] == [None, "too-fast"]
    now += 1000.0
    assert [json.loads(server.answer(_question(), ME)).get("error") for _ in range(3)] == [None, None, "too-fast"]


def test_no_answer_holds_a_key() -> None:
    numbers = KEYS["rsa"].private_numbers()
    pem = KEYS["rsa"].private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    secrets = {pem.hex(), format(numbers.d, "x")}  # type: ignore[union-attr]
    questions = [
        _question(),
        _question(signer="other"),
        _question(digest="zz"),
        b"",
        b'{"key": "vendor"}',
        b'{"signer": "vendor"}',
    ]
    answers = b"".join(_server().answer(question, ME) for question in questions).decode()
    assert not [secret for secret in secrets if secret in answers]


def test_many_ask_at_once_and_each_gets_its_own() -> None:
    key = MemoryKey("rsa")
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(40)]
    with served({"vendor": key}, connections=len(digests)) as place, ThreadPoolExecutor(8) as pool:
        way = open_key(KeyRequest(signer="vendor", way="socket", place=str(place)))
        assert [*pool.map(lambda digest: way.sign(digest, "sha256"), digests)] == [
            key.sign(digest, "sha256") for digest in digests
        ]


def test_who_says_nothing_keeps_nobody_waiting() -> None:
    with (
        served({"vendor": MemoryKey("rsa")}, connections=2) as place,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent,
    ):
        silent.connect(str(place))
        way = open_key(KeyRequest(signer="vendor", way="socket", place=str(place)))
        assert way.sign(bytes.fromhex(_DIGEST), "sha256")


@pytest.mark.parametrize(("is_shared", "mode"), [(False, 0o600), (True, 0o666)])
def test_a_socket_has_its_rights_before_it_has_its_name(*, is_shared: bool, mode: int) -> None:
    with short_folder() as folder:
        with open_socket(folder / "sock", is_shared=is_shared):
            assert stat.S_IMODE((folder / "sock").stat().st_mode) == mode
            assert [file.name for file in folder.iterdir()] == ["sock"]
        assert [*folder.iterdir()] == []


def test_what_a_killed_server_left_is_taken_over() -> None:
    with short_folder() as folder:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(str(folder / "sock"))
        with open_socket(folder / "sock", is_shared=False):
            assert (folder / "sock").is_socket()


def test_two_servers_do_not_share_a_place() -> None:
    with short_folder() as folder, open_socket(folder / "sock", is_shared=False):
        with pytest.raises(BusyError, match="served at"), open_socket(folder / "sock", is_shared=False):
            pass
        assert (folder / "sock").is_socket()


def test_a_file_at_the_place_stays() -> None:
    with short_folder() as folder:
        (folder / "sock").write_text("mine")
        with pytest.raises(HostError, match="is no socket"), open_socket(folder / "sock", is_shared=False):
            pass
        assert (folder / "sock").read_text() == "mine"
        with pytest.raises(HostError, match="no socket can be made"), open_socket(folder / "no" / "x", is_shared=False):
            pass
