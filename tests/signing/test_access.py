"""The way from an entry of versions.yaml to its key."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from builder.config.model.signer import KeyPlace
from builder.errors import SignerError
from builder.signing import access
from builder.signing.access import check_key_place, open_key
from builder.signing.backends.socket import SocketKey

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.signing.backends.key import KeyRequest


class _Held:
    """In the place of a process that holds a key: remembers what it is asked for, and that it was ended."""

    opened: KeyRequest | None = None
    is_closed = False

    def __init__(self, request: KeyRequest) -> None:
        type(self).opened = request

    def sign(self, _digest: bytes, _algorithm: str) -> bytes:
        return b"signature"

    def close(self) -> None:
        type(self).is_closed = True


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> type[_Held]:
    kind = type("_Held", (_Held,), {})
    monkeypatch.setattr(access, "HeldKey", kind)
    return kind


@pytest.mark.parametrize(
    ("entry", "place", "passphrase", "passphrase_file"),
    [
        ({"key_file": "/k/a.key"}, "/k/a.key", None, ""),
        ({"key_file": "/k/a.key", "passphrase_env": "PIN"}, "/k/a.key", "1234", ""),
        ({"pkcs11": "pkcs11:object=a?module-path=/x", "passphrase_file": "/k/pin"}, "pkcs11:object=a?module-path=/x", None, "/k/pin"),
    ],
)  # fmt: skip
def test_a_key_is_held_by_a_process_that_ends(
    entry: dict[str, Any], place: str, passphrase: str | None, passphrase_file: str, held: type[_Held],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PIN", "1234")
    monkeypatch.setenv("TOKEN_HOME", "/t")
    with open_key("release", KeyPlace(**entry, pass_environment=("TOKEN_HOME", "NOT_SET"))) as key:
        assert key.sign(b"x", "sha256") == b"signature"
        assert not held.is_closed
    request = held.opened
    assert request is not None
    assert (request.place, request.passphrase, request.passphrase_file) == (place, passphrase, passphrase_file)
    assert request.environment == {"TOKEN_HOME": "/t"}
    assert held.is_closed


def test_a_passphrase_that_is_not_there(held: type[_Held], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIN", raising=False)
    with (
        pytest.raises(SignerError, match="signer release: the environment has no PIN") as caught,
        open_key("release", KeyPlace(key_file="/k/a.key", passphrase_env="PIN")),
    ):
        pass
    assert (caught.value.code, held.opened) == ("passphrase-missing", None)


def test_a_program_is_asked_by_the_build_itself(fake_tools: FakeTools, held: type[_Held]) -> None:
    fake_tools.add("kms", f"echo {base64.b64encode(b'theirs').decode()}")
    with open_key("release", KeyPlace(command=("kms",))) as key:
        assert key.sign(b"x" * 32, "sha256") == b"theirs"
    assert held.opened is None


@pytest.mark.parametrize("secret", ["key_file", "passphrase_file"])
def test_secrets_in_a_driver_source_are_refused(secret: str, tmp_path: Path) -> None:
    files: dict[str, Any] = {"key_file": str(tmp_path / "keys/a.key"), secret: str(tmp_path / "src/deep/a")}
    entry = KeyPlace(**files)
    with pytest.raises(SignerError, match="lies in the driver source") as caught:
        check_key_place("release", entry, [tmp_path / "src"])
    assert caught.value.code == "key-in-source"
    check_key_place("release", entry, [tmp_path / "other"])


@pytest.mark.parametrize("form", ["{}", "file:{}"])
def test_a_pin_in_a_driver_source_is_refused(form: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("src")
    for folder in ("src", "link"):
        uri = f"pkcs11:object=a?module-path=/x&pin-source={form.format(tmp_path / folder / 'pin')}"
        with pytest.raises(SignerError, match="lies in the driver source"):
            check_key_place("release", KeyPlace(pkcs11=uri), [tmp_path / "src"])
        check_key_place("release", KeyPlace(pkcs11=uri), [tmp_path / "other"])


def test_where_keys_are_served_they_are_asked_for_there(held: type[_Held], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever versions.yaml says of files that this machine does not have."""
    monkeypatch.setenv(access.KEY_SOCKET, "/run/keys/sock")
    with open_key("vendor", KeyPlace(key_file="/gone/vendor.pem")) as key:
        assert isinstance(key, SocketKey)
    assert held.opened is None


def test_a_socket_opens_nothing_that_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.KEY_SOCKET, "/run/keys/sock")
    place = KeyPlace(key_file="/k/a.key")
    place._is_forbidden = True
    with pytest.raises(SignerError, match="not trusted"), open_key("vendor", place):
        pass
