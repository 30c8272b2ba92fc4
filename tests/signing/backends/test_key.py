"""Where keys are, and files that only their owner may read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from builder.errors import SignerError
from builder.signing.backends.key import NO_ANSWER, KeyRequest, ask_twice, read_secret

if TYPE_CHECKING:
    from pathlib import Path


def _secret(file: Path, content: bytes = b"secret", mode: int = 0o600) -> Path:
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    file = _secret(tmp_path / "key", b"\x00\xff\n", mode)
    (tmp_path / "link").symlink_to(file)
    assert read_secret(file, "key file") == read_secret(tmp_path / "link", "key file") == b"\x00\xff\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777])
def test_a_file_that_is_open_to_others_is_refused_whatever_they_may_do(tmp_path: Path, mode: int) -> None:
    file = _secret(tmp_path / "key", mode=mode)
    (tmp_path / "link").symlink_to(file)
    for place in (file, tmp_path / "link"):
        with pytest.raises(SignerError, match=f"PIN file {place} is open to other users .mode {mode:04o}") as caught:
            read_secret(place, "PIN file")
        assert caught.value.code == "key-readable-by-others"
        assert f"chmod 600 {place}" in (caught.value.hint or "")
        assert "secret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for place, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SignerError, match=f"key file {place} cannot be read: {reason}") as caught:
            read_secret(place, "key file")
        assert caught.value.code == "key-unreadable"


def _told(**changes: object) -> dict[str, object]:
    """Return what a key's process is told, as it gets it: in a line of JSON."""
    words = KeyRequest(signer="release", way="key_file", place="/k/a.key").words() | changes
    return dict(json.loads(json.dumps(words)))


def test_the_process_that_holds_a_key_reads_the_key_and_its_passphrase(tmp_path: Path) -> None:
    key = _secret(tmp_path / "key", b"key")
    passphrase = _secret(tmp_path / "passphrase", b" two words \r\n")
    asked = KeyRequest(signer="release", way="key_file", place=str(key), passphrase_file=str(passphrase))
    request = KeyRequest.of_words(json.loads(json.dumps(asked.words())))
    assert (request.signer, request.way, request.place) == ("release", "key_file", str(key))
    assert (request.content, request.passphrase) == (b"key", " two words ")
    plain = KeyRequest.of_words(_told(place=str(key), passphrase="x\n"))
    assert plain.passphrase == "x\n", "what the environment says is not cut"


def test_what_is_no_key_file_is_not_opened() -> None:
    request = KeyRequest.of_words(_told(way="pkcs11", place="pkcs11:object=a?module-path=/x"))
    assert (request.content, request.passphrase) == (b"", None)


@pytest.mark.parametrize("name", ["place", "passphrase_file"])
def test_a_secret_that_others_may_read_opens_nothing(tmp_path: Path, name: str) -> None:
    files = {"place": str(_secret(tmp_path / "key")), "passphrase_file": str(_secret(tmp_path / "passphrase"))}
    KeyRequest.of_words(_told(**files))
    _secret(tmp_path / {"place": "key", "passphrase_file": "passphrase"}[name], mode=0o644)
    with pytest.raises(SignerError, match="is open to other users"):
        KeyRequest.of_words(_told(**files))


@pytest.mark.parametrize(
    ("answers", "count"),
    [
        ([b"1"], 1),
        ([NO_ANSWER, b"1"], 2),
        ([NO_ANSWER, NO_ANSWER, b"1"], 2),
        ([NO_ANSWER, "key-unreadable"], 2),
        (["key-unreadable", b"1"], 1),
    ],
)
def test_a_key_is_asked_again_only_where_no_answer_came_and_once(answers: list[bytes | str], count: int) -> None:
    asked = iter(answers)
    given: list[bytes | str] = []

    def sign() -> bytes:
        given.append(next(asked))
        if isinstance(given[-1], str):
            raise SignerError(given[-1], "m")
        return given[-1]

    try:
        assert ask_twice(sign) == answers[-1]
    except SignerError as error:
        assert error.code == given[-1]
    assert len(given) == count
